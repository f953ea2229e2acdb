"""engines: the outside as the parent sees it."""

import asyncio
import random
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs
from tests.simulation.world import WorldRegistry
from tests.supervisor.leases import received, turn

from omni_etl.backends.memory import MemoryQueue
from omni_etl.backends.memory_tracker import MemoryTracker
from omni_etl.clock import ManualClock
from omni_etl.errors import UnavailableError
from omni_etl.supervisor.engines import NOTHING_KNOWN, Engines
from omni_etl.tracker import Mark, Progress


class Tracker(MemoryTracker):
    """May be away."""

    is_away = False

    calls = 0

    async def ask(self, keys: Sequence[str]) -> list[Progress]:
        """Answer, if there."""
        await self._reach()
        return await super().ask(keys)

    async def mark(self, key: str, service: str, mark: Mark, owed: frozenset[str]) -> frozenset[str]:
        """Note it, if there."""
        await self._reach()
        return await super().mark(key, service, mark, owed)

    async def bury(self, keys: Sequence[str]) -> None:
        """Do, if there."""
        await self._reach()
        await super().bury(keys)

    async def _reach(self) -> None:
        self.calls += 1
        await asyncio.sleep(0)  # others get their turn
        if self.is_away:
            raise UnavailableError("no tracker")


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock()


@pytest.fixture
def engines(clock: ManualClock) -> Engines:
    """All three in memory."""
    return Engines(
        queue=MemoryQueue(clock), tracker=Tracker(clock), registry=WorldRegistry([]), clock=clock, rng=random.Random(1)
    )


async def test_an_absent_tracker_knows_nothing(engines: Engines, clock: ManualClock) -> None:
    """Which only costs questions; the line is said once at each change."""
    assert isinstance(engines.tracker, Tracker)
    await engines.tracker.mark("a", "metrics", "done", frozenset({"metrics", "webhooks"}))
    with capture_logs() as lines:
        assert (await engines.ask(["a", "b"]))[0].marks == {"metrics": "done"}
        engines.tracker.is_away = True
        assert await engines.ask(["a", "b"]) == await engines.ask(["a", "b"]) == [NOTHING_KNOWN] * 2
        engines.tracker.is_away = False
        clock.advance(1)
        await engines.ask(["a"])
        await engines.ask(["a"])
    assert [each["event"] for each in lines] == ["tracker_away", "tracker_back"]


async def test_a_tracker_that_hangs_is_left_alone_for_a_while(engines: Engines, clock: ManualClock) -> None:
    """Each call costs its time-out, so after a failure nobody asks, marks or buries before the pause is over."""
    assert isinstance(engines.tracker, Tracker)
    tracker = engines.tracker
    tracker.is_away = True
    for _ in range(5):
        await engines.ask(["a"])
        await engines.mark([("a", "metrics", "done", frozenset())])
        await engines.bury(["a"])
    assert tracker.calls == 1
    clock.advance(1)
    await asyncio.gather(*(engines.ask(["a"]) for _ in range(5)))
    assert tracker.calls == 2
    tracker.is_away = False
    clock.advance(60)
    await engines.mark([("a", "metrics", "done", frozenset())])
    await engines.bury(["b"])
    assert (await engines.ask(["a"]))[0].marks == {"metrics": "done"}
    assert tracker.calls == 5


async def test_those_who_fail_together_are_one_failure(engines: Engines, clock: ManualClock) -> None:
    """The first pause stays short, however many receivers met the same moment of absence."""
    assert isinstance(engines.tracker, Tracker)
    engines.tracker.is_away = True
    await asyncio.gather(*(engines.ask(["a"]) for _ in range(9)))
    engines.tracker.is_away = False
    clock.advance(0.5)
    await engines.ask(["a"])
    assert engines.tracker.calls == 10


async def test_room_wakes_every_receiver(engines: Engines) -> None:
    """All who wait look again at once."""
    waiting = [asyncio.create_task(engines.room_changed(60)) for _ in range(3)]
    await turn()
    assert not any(each.done() for each in waiting)
    engines.make_room()
    await turn()
    assert all(each.done() for each in waiting)


async def test_old_room_wakes_nobody(engines: Engines) -> None:
    """A receiver that found no room waits for news, not for what it has already looked at; and not for long."""
    engines.make_room()
    waiting = asyncio.create_task(engines.room_changed(60))
    await turn()
    assert not waiting.done()
    waiting.cancel()
    await engines.room_changed(0.001)


async def test_released_leases_are_ready_at_once(engines: Engines, clock: ManualClock) -> None:
    """In calls as large as the queue takes, queue by queue."""
    assert isinstance(engines.queue, MemoryQueue)
    held = [each for name in ("bulk", "express") for each in await received(engines.queue, clock, name=name)]
    held += [each for _ in range(2) for each in await received(engines.queue, clock, count=9)]
    await engines.release(held)
    assert (await engines.queue.depth("bulk")).ready == 19
    assert (await engines.queue.depth("express")).ready == 1


async def test_a_release_nobody_hears_is_no_error(engines: Engines, clock: ManualClock) -> None:
    """The lease lapses by itself."""
    assert isinstance(engines.queue, MemoryQueue)
    mine = await received(engines.queue, clock)
    engines.queue.faults.unavailable = True
    await engines.release(mine)
    engines.queue.faults.unavailable = False
    assert (await engines.queue.depth("bulk")).leased == 1
