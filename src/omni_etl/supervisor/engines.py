"""Engines: the outside as the parent sees it. The tracker's absence becomes "nothing known", which only costs questions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from omni_etl import telemetry
from omni_etl.backoff import Backoff
from omni_etl.clock import Clock
from omni_etl.errors import UnavailableError
from omni_etl.queue import Lease, Queue, batches
from omni_etl.registry import Registry
from omni_etl.supervisor.held import Held, by_call
from omni_etl.tracker import Mark, Progress, Tracker

NOTHING_KNOWN: Final = Progress({}, settled=False)
T = TypeVar("T")


class Engines:
    """Queue, tracker and registry, and the word that something made room."""

    def __init__(self, *, queue: Queue, tracker: Tracker, registry: Registry, clock: Clock, rng: random.Random) -> None:
        self.queue = queue
        self.tracker = tracker
        self.registry = registry
        self._clock = clock
        self._rng = rng
        self._room = asyncio.Event()
        self._backoff = Backoff(first_seconds=0.5, wait_seconds_max=30.0)
        self._tracker_failures = 0  # in a row
        self._ask_again_at = 0.0  # monotonic; means something after a failure

    # The tracker. One that hangs costs its time-out at every call, so after a failure it is left alone for a while.

    async def ask(self, keys: Sequence[str]) -> list[Progress]:
        """What the tracker remembers; nothing, while it is away."""
        answer = await self._try_tracker(lambda: self.tracker.ask(keys))
        return [NOTHING_KNOWN] * len(keys) if answer is None else answer

    async def mark(self, marks: Sequence[tuple[str, str, Mark, frozenset[str]]]) -> None:
        """Pass marks on; lost while it is away, which costs another parent a question."""
        await self._try_tracker(lambda: asyncio.gather(*(self.tracker.mark(*each) for each in marks)))

    async def bury(self, keys: Sequence[str]) -> None:
        """Leave tombstones; without one, a late duplicate asks the ledgers."""
        await self._try_tracker(lambda: self.tracker.bury(keys))

    def tracker_away(self, error: UnavailableError) -> None:
        """Say so once, and leave it alone for longer each time."""
        if not self._tracker_failures:
            telemetry.get_logger().error("tracker_away", reason=str(error))
        self._tracker_failures += 1
        self._leave_tracker_alone()

    def tracker_answered(self) -> None:
        """Say once that it is back."""
        if self._tracker_failures:
            self._tracker_failures = 0
            telemetry.get_logger().info("tracker_back")

    async def _try_tracker(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """None where it is away, or was a moment ago; of those who find the pause over, one asks and the others go on."""
        if self._tracker_failures:
            if self._clock.monotonic() < self._ask_again_at:
                return None
            self._leave_tracker_alone()
        failures = self._tracker_failures
        try:
            answer = await call()
        except UnavailableError as error:
            if self._tracker_failures == failures:  # those who failed together are one failure
                self.tracker_away(error)
            return None
        self.tracker_answered()
        return answer

    def _leave_tracker_alone(self) -> None:
        self._ask_again_at = self._clock.monotonic() + self._backoff.wait_seconds(self._tracker_failures, self._rng)

    # Room

    def make_room(self) -> None:
        """Something ended: receivers look again."""
        self._room.set()

    async def room_changed(self, seconds_max: float) -> None:
        """Wait until something ended, or a little."""
        self._room.clear()
        try:
            await asyncio.wait_for(self._room.wait(), seconds_max)
        except TimeoutError:
            return

    # Leases that go back

    async def release(self, held: Iterable[Held]) -> None:
        """Give leases back; what the queue does not hear lapses by itself."""
        for call in by_call(held, self.queue.limits.batch_count_max):
            await self.give_back([each.lease for each in call])

    async def give_back(self, leases: Sequence[Lease], *, delay_seconds: int = 0) -> None:
        """Give leases of one queue back; the same."""
        try:
            for call in batches(leases, self.queue.limits.batch_count_max):
                await self.queue.release(call, delay_seconds=delay_seconds)
        except UnavailableError:
            return
