"""Redrive: put a service's dead letters back, into its siding, when what killed them is mended.

What no service could be named for goes back to its lane.
"""

from __future__ import annotations

from typing import Final

from omni_etl.envelope import lane_of
from omni_etl.queue import UNREADABLE, Queue, dead_letters, siding
from omni_etl.supervisor.settle import delete_copied

LEASE_SECONDS: Final = 60


async def redrive(queue: Queue, service: str, *, count_max: int) -> int:
    """Move up to `count_max` envelopes; answers how many. A crash in between leaves a copy, which the ledger makes one."""
    moved = 0
    while moved < count_max:
        leases = await queue.receive(
            dead_letters(service),
            count_max=min(queue.limits.receive_count_max, count_max - moved),
            wait_seconds=0,
            lease_seconds=LEASE_SECONDS,
        )
        if not leases:
            return moved
        for lease in leases:
            is_nobodys = lease.queue_name == UNREADABLE
            target = lane_of(lease.envelope.header) if is_nobodys else siding(service)
            if not await queue.send(target, [lease.envelope]):
                await delete_copied(queue, lease)
                moved += 1
    return moved
