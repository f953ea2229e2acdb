"""Settle: end leases whose envelope owes nothing. The only place that deletes from a queue.

An envelope may go only when every service it owes has *confirmed*: done (its ledger was read back), kept in its siding,
or kept in its dead letters. What nobody confirmed keeps the envelope.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from omni_etl import telemetry
from omni_etl.backoff import Backoff
from omni_etl.clock import Clock
from omni_etl.errors import UnavailableError
from omni_etl.queue import Lease, Queue, batches
from omni_etl.supervisor.held import Held
from omni_etl.tracker import Tracker


class Settler:
    """Deletes in batches, again and again until the queue has confirmed or the lease has lapsed."""

    def __init__(
        self,
        *,
        queue: Queue,
        tracker: Tracker,
        clock: Clock,
        rng: random.Random,
        on_settled: Callable[[Held], None],
    ) -> None:
        self._queue = queue
        self._tracker = tracker
        self._clock = clock
        self._rng = rng
        self._on_settled = on_settled
        self._waiting: list[Held] = []
        self._wake = asyncio.Event()
        self._backoff = Backoff(first_seconds=0.1, wait_seconds_max=5.0)

    def settle(self, held: Held) -> None:
        """Nothing is owed any more: delete the lease as soon as the queue takes it."""
        assert not held.missing(), f"{held.key} still owes {sorted(held.missing())}"
        held.settling = True
        self._waiting.append(held)
        self._wake.set()

    async def run(self) -> None:
        """Delete for ever; cancelled at stop, after `drain`."""
        tries = 0
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            tries = 0 if await self._delete_waiting() else tries + 1
            if tries:
                await self._clock.sleep(self._backoff.wait_seconds(tries, self._rng))

    async def drain(self) -> None:
        """One more round, before the end; what the queue does not take lapses and is found done by the next parent."""
        await self._delete_waiting()

    async def _delete_waiting(self) -> bool:
        """Delete what waits; False where some of it has to wait on."""
        taken, self._waiting = self._waiting, []
        by_queue: dict[str, list[Held]] = {}
        for held in taken:
            by_queue.setdefault(held.lease.queue_name, []).append(held)
        gone: list[Held] = []
        for each in by_queue.values():
            for batch in batches(each, self._queue.limits.batch_count_max):
                gone += await self._delete(batch)
        left = [held for held in taken if held not in gone]
        now = self._clock.monotonic()
        self._waiting += [held for held in left if held.deadline > now]
        for held in left:
            if held.deadline <= now:
                self._on_settled(held)  # lapsed: whoever has it now finds every ledger saying done
        await self._bury([held for held in gone if held.only is None])
        return len(gone) == len(taken)

    async def _delete(self, batch: Sequence[Held]) -> list[Held]:
        try:
            failures = await self._queue.delete([held.lease for held in batch])
        except UnavailableError:
            return []
        gone = [held for position, held in enumerate(batch) if position not in failures]
        for held in gone:
            telemetry.supervisor_settled.inc()
            telemetry.supervisor_events_settled.inc(held.header.event_count)
            self._on_settled(held)
        return gone

    async def _bury(self, gone: Sequence[Held]) -> None:
        if gone:
            try:
                await self._tracker.bury([held.key for held in gone])
            except UnavailableError:
                return  # no tombstone: a late duplicate asks the ledgers


async def delete_copied(queue: Queue, lease: Lease) -> None:
    """Delete an entry after another queue confirmed its copy (dead letters, or a siding at a redrive)."""
    await queue.delete([lease])
