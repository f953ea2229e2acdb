"""Leases in a parent's hands, and turns of the loop; what tests of the supervisor share."""

import asyncio
from collections.abc import Iterable
from typing import Any

from tests.simulation.world import envelope

from omni_etl.backends.memory import MemoryQueue
from omni_etl.clock import ManualClock
from omni_etl.envelope import open_header
from omni_etl.queue import Lease
from omni_etl.supervisor.held import Held

LEASE_SECONDS = 30


def held(seq: int = 1, *, lane: Any = "bulk", only: str | None = None, owed: Iterable[str] = ("metrics",)) -> Held:
    """A lease that no queue knows."""
    sealed = envelope(seq, lane=lane)
    lease = Lease(lane if only is None else f"siding-{only}", f"{seq}.1", sealed, receive_count=1, sent_at=0.0)
    return Held(lease, open_header(sealed.header), LEASE_SECONDS, 0.0, frozenset(owed), only=only)


async def received(
    queue: MemoryQueue, clock: ManualClock, *, count: int = 1, name: str = "bulk", only: str | None = None
) -> list[Held]:
    """Leases that this queue gave."""
    await queue.send(name, [envelope(seq) for seq in range(1, count + 1)])
    leases = await queue.receive(name, count_max=count, wait_seconds=0, lease_seconds=LEASE_SECONDS)
    now = clock.monotonic()
    return [
        Held(each, open_header(each.envelope.header), now + LEASE_SECONDS, now, frozenset({"metrics"}), only=only)
        for each in leases
    ]


async def turn(times: int = 30) -> None:
    """Let every callback chain run out."""
    for _ in range(times):
        await asyncio.sleep(0)


async def pass_seconds(clock: ManualClock, seconds: float) -> None:
    """Time passes in small steps, and everyone whose time has come gets on."""
    await turn()
    for _ in range(round(seconds / 0.1)):
        clock.advance(0.1)
        await turn()
