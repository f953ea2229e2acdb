"""Renew: keep the leases we hold, well before their deadlines, from a loop nothing blocks."""

from __future__ import annotations

from collections.abc import Callable, Collection

from omni_etl.clock import Clock
from omni_etl.errors import UnavailableError
from omni_etl.queue import Queue
from omni_etl.supervisor.held import Held, by_call


class Renewer:
    """Extends every lease that has used a third of its time. An extension that fails leaves the old deadline standing."""

    def __init__(
        self,
        *,
        queue: Queue,
        clock: Clock,
        lease_seconds: int,
        held: Collection[Held],
        on_lapse: Callable[[Held], None],
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._held = held
        self._on_lapse = on_lapse

    async def run(self) -> None:
        """Look around for ever; cancelled at stop."""
        while True:
            await self._clock.sleep(min(5.0, self._lease_seconds / 12))
            await self.renew()

    async def renew(self) -> None:
        """Extend what is due, drop what has lapsed. A deadline that has passed never comes to life again."""
        now = self._clock.monotonic()
        for held in [each for each in self._held if each.deadline <= now]:
            self._on_lapse(held)
        due = [
            each for each in self._held if each.deadline - now < self._lease_seconds * 2 / 3 and self._may(each, now)
        ]
        for call in by_call(due, self._queue.limits.batch_count_max):
            await self._extend(call)

    def _may(self, held: Held, now: float) -> bool:
        """SQS counts twelve hours from the receive and refuses to go beyond."""
        return now - held.received_at + self._lease_seconds < self._queue.limits.lease_seconds_max

    async def _extend(self, call: Collection[Held]) -> None:
        asked_at = self._clock.monotonic()
        ours = [held for held in call if held.deadline > asked_at and held in self._held]
        if not ours:
            return
        try:
            failures = await self._queue.extend([held.lease for held in ours], lease_seconds=self._lease_seconds)
        except UnavailableError:
            return
        now = self._clock.monotonic()
        for position, held in enumerate(ours):
            if held.deadline <= now:
                self._on_lapse(held)  # others of us have given it up meanwhile, whatever the queue says now
            elif position not in failures:
                held.deadline = asked_at + self._lease_seconds
