"""marks: tell the tracker who is done."""

import asyncio
import random

from tests.simulation.world import WorldRegistry
from tests.supervisor.leases import turn

from omni_etl.backends.memory import MemoryQueue
from omni_etl.backends.memory_tracker import MemoryTracker
from omni_etl.clock import ManualClock
from omni_etl.errors import UnavailableError
from omni_etl.supervisor.engines import Engines
from omni_etl.supervisor.marks import WAITING_MAX, Marks
from omni_etl.tracker import Mark

OWED = frozenset({"metrics", "webhooks"})


class Tracker(MemoryTracker):
    """May be away."""

    is_away = False

    async def mark(self, key: str, service: str, mark: Mark, owed: frozenset[str]) -> frozenset[str]:
        """Note it, if there."""
        if self.is_away:
            raise UnavailableError("no tracker")
        return await super().mark(key, service, mark, owed)


def scene() -> tuple[Marks, Tracker, ManualClock]:
    """Marks on a tracker that can be away."""
    clock = ManualClock()
    tracker = Tracker(clock)
    engines = Engines(
        queue=MemoryQueue(clock), tracker=tracker, registry=WorldRegistry([]), clock=clock, rng=random.Random(1)
    )
    return Marks(engines), tracker, clock


async def test_every_mark_reaches_the_tracker() -> None:
    """More than go together, of several services."""
    subject, tracker, _ = scene()
    for seq in range(100):
        subject.put(f"key-{seq}", "metrics", "done", OWED)
    subject.put("key-99", "webhooks", "sided", OWED)
    running = asyncio.create_task(subject.run())
    await turn()
    answers = await tracker.ask([f"key-{seq}" for seq in range(100)])
    assert [each.marks for each in answers] == [{"metrics": "done"}] * 99 + [{"metrics": "done", "webhooks": "sided"}]
    running.cancel()


async def test_an_absent_tracker_costs_marks_and_nothing_else() -> None:
    """The parent goes on; what comes when the tracker is back is marked again."""
    subject, tracker, clock = scene()
    tracker.is_away = True
    running = asyncio.create_task(subject.run())
    subject.put("lost", "metrics", "done", OWED)
    await turn()
    tracker.is_away = False
    clock.advance(1)
    subject.put("kept", "metrics", "done", OWED)
    await turn()
    assert [bool(each.marks) for each in await tracker.ask(["lost", "kept"])] == [False, True]
    assert not running.done()
    running.cancel()


async def test_waiting_marks_have_a_limit() -> None:
    """A tracker that hangs does not eat our memory: the oldest marks are kept, the newest left out."""
    subject, _, _ = scene()
    for seq in range(WAITING_MAX + 5):
        subject.put(str(seq), "metrics", "done", OWED)
    assert subject._waiting.qsize() == WAITING_MAX
