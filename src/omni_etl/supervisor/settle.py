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
from omni_etl.queue import Lease, Queue
from omni_etl.supervisor.engines import Engines
from omni_etl.supervisor.held import Held, by_call


class Settler:
    """Deletes many in one call, again and again until the queue has confirmed or the lease has lapsed."""

    def __init__(
        self,
        *,
        engines: Engines,
        clock: Clock,
        rng: random.Random,
        on_settled: Callable[[Held], None],
    ) -> None:
        self._engines = engines
        self._queue = engines.queue
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
        gone: list[Held] = []
        for call in by_call(taken, self._queue.limits.batch_count_max):
            gone += await self._delete(call)
        left = [held for held in taken if held not in gone]
        now = self._clock.monotonic()
        self._waiting += [held for held in left if held.deadline > now]
        for held in left:
            if held.deadline <= now:
                self._on_settled(held)  # lapsed: whoever has it now finds every ledger saying done
        from_lanes = [held.tracked_as for held in gone if held.only is None]
        if from_lanes:
            await self._engines.bury(from_lanes)
        return len(gone) == len(taken)

    async def _delete(self, call: Sequence[Held]) -> list[Held]:
        try:
            failures = await self._queue.delete([held.lease for held in call])
        except UnavailableError:
            return []
        gone = [held for position, held in enumerate(call) if position not in failures]
        for held in gone:
            telemetry.supervisor_settled.inc()
            telemetry.supervisor_events_settled.inc(held.header.event_count)
            self._on_settled(held)
        return gone


async def delete_copied(queue: Queue, lease: Lease) -> None:
    """Delete an entry after another queue confirmed its copy (dead letters, or a siding at a redrive).

    Also a dead letter that a person discards, after that was written down.
    """
    await queue.delete([lease])
