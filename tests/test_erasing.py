"""erasing: noted, heard, deleted, in this order; cut off anywhere, the same again ends it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import date
from pathlib import Path

import pytest
from tests.simulation.world import WorldRegistry
from tests.supervisor.leases import turn

from omni_etl.backends.database import DatabaseErasures, open_database
from omni_etl.clock import ManualClock
from omni_etl.erasing import HEARD_SECONDS_MIN, SILENT_SECONDS_MAX, Erased, Erasing, ErasingParts
from omni_etl.erasure import Receipt, Rewritten
from omni_etl.errors import UnavailableError
from omni_etl.registry import ERASURES, RoleReport

WHO = "a@x.test"


class Engines(WorldRegistry):
    """Everything that is erased from, in memory; notes what happens, and fails once where it is told to."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__([])
        self.clock = clock
        self.parents: dict[str, tuple[int, float]] = {}  # how many erasures it has heard of, and when it said so
        self.happened: list[str] = []
        self.events = {date(2026, 11, 24): 2, date(2026, 11, 25): 3}
        self.batches = {"1": Rewritten(rewritten=1, events=2), "2": Rewritten(dropped=1, events=1), "3": Rewritten()}
        self.claimed: set[str] = set()
        self.splits_at: tuple[str, int] | None = (
            None  # a batch with such events is split as this one is looked at for that time
        )
        self.halves: list[str] = []
        self.segments = 0
        self.entries = 2
        self.fails_at = ""

    def step(self, name: str) -> None:
        """It happens, or fails this once."""
        if self.fails_at == name:
            self.fails_at = ""
            raise UnavailableError(name)
        self.happened.append(name)

    async def reports(self) -> list[RoleReport]:
        """Each parent's last word."""
        return [
            RoleReport("run", name, int(said_at * 1000), {ERASURES: count})
            for name, (count, said_at) in self.parents.items()
        ]

    async def days(self) -> Sequence[date]:
        """With events."""
        return list(self.events)

    async def erase_events(self, recipient: str, day: date) -> int:
        """All at once."""
        self.step(f"events of {day:%d}")
        count, self.events[day] = self.events[day], 0
        return count

    async def erase_reasons(self, recipient: str) -> int:
        """There is none."""
        self.step("reasons")
        return 0

    async def rewrite_segments(self, recipient: str) -> Rewritten:
        """All at once."""
        self.step("segments")
        count, self.segments = self.segments, 0
        return Rewritten(events=count)

    async def batch_ids(self, after: str, *, count_max: int) -> Sequence[str]:
        """One at a time."""
        return [each for each in sorted(self.batches) if each > after][:1]

    async def recall_replays(self) -> None:
        """At once."""
        self.step("replays")

    async def halves_since(self, at_ms: int) -> Sequence[str]:
        """Under a name that a walk has passed."""
        return list(self.halves)

    async def rewrite(self, ids: Sequence[str], recipient: str) -> Rewritten:
        """Unless it is claimed."""
        [each] = ids
        if self.splits_at == (each, self.happened.count(f"batch {each}") + 1):
            self.batches["0"] = Rewritten(rewritten=1, events=4)
            self.halves = ["0"]
        if each in self.claimed:
            return Rewritten(claimed=(each,))
        self.step(f"batch {each}")
        found, self.batches[each] = self.batches.get(each, Rewritten()), Rewritten()
        return found

    async def withdraw(self, recipient: str) -> int:
        """All."""
        self.step("withdraw")
        count, self.entries = self.entries, 0
        return count

    async def forget(self, recipient: str) -> None:
        """The rest."""
        self.step("forget")


class Scene:
    """An erasing on these engines, with real erasures."""

    def __init__(self, erasures: DatabaseErasures, clock: ManualClock) -> None:
        self.clock, self.erasures, self.engines = clock, erasures, Engines(clock)
        parts = ErasingParts(erasures, self.engines, self.engines, self.engines, self.engines)
        self.said: list[tuple[str, int, int]] = []
        self.erasing = Erasing(parts, clock=clock, progress=lambda *said: self.said.append(said))

    async def erase(self, *, with_suppressions: bool = False) -> Erased:
        """To its end, while time passes."""
        return await self.ended(self.begin(with_suppressions=with_suppressions))

    def begin(self, *, with_suppressions: bool = False) -> asyncio.Task[Erased]:
        """Do not wait for it."""
        return asyncio.create_task(self.erasing.erase(WHO, with_suppressions=with_suppressions))

    async def ended(self, task: asyncio.Task[Erased]) -> Erased:
        """While time passes."""
        while not task.done():
            await self.passed(0.5)
        return task.result()

    async def passed(self, seconds: float) -> None:
        """Time, and what it wakes; the database has a thread of its own."""
        self.clock.advance(seconds)
        await turn()
        await asyncio.sleep(0.002)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Nothing erased yet."""
    clock = ManualClock()
    erasures = DatabaseErasures(open_database(f"sqlite:///{tmp_path}", "control", clock), clock)
    await erasures.open()
    yield Scene(erasures, clock)
    await erasures.close()


async def test_a_batch_that_is_split_behind_the_last_walk_does_not_escape(scene: Scene) -> None:
    """Its half has a name that the walk has passed; it is found by that name, and then everything is walked once more."""
    scene.engines.splits_at = ("3", 2)
    receipt = (await scene.erase()).receipt
    assert (receipt.batch_events, receipt.batches_rewritten) == (7, 2)
    assert scene.engines.batches["0"] == Rewritten()


async def test_what_is_not_yet_a_batch_is_erased_first(scene: Scene) -> None:
    """What is joined meanwhile is found among the batches; the receipt counts its events."""
    scene.engines.segments = 7
    receipt = (await scene.erase()).receipt
    assert (receipt.batch_events, receipt.batches_rewritten, receipt.batches_dropped) == (10, 1, 1)
    happened = scene.engines.happened
    assert happened.index("segments") < happened.index("batch 1")


async def test_a_receipt_says_when_and_how_many_of_each(scene: Scene) -> None:
    """Suppressions only where they are asked for; they end first, and are forgotten last."""
    receipt = (await scene.erase()).receipt
    assert receipt == Receipt(
        receipt.id,
        receipt.at_ms,
        with_suppressions=False,
        finished_at_ms=receipt.finished_at_ms,
        events=5,
        batches_rewritten=1,
        batches_dropped=1,
        batch_events=3,
    )
    assert receipt.at_ms < (receipt.finished_at_ms or 0) <= int(scene.clock.now() * 1000)
    batches = ["batch 1", "batch 2", "batch 3"]
    steps = ["events of 24", "events of 25", "reasons", "replays", "segments", *batches]
    assert scene.engines.happened == [*steps, *batches]
    again = (await scene.erase(with_suppressions=True)).receipt
    assert (again.events, again.suppressions, again.id != receipt.id) == (0, 2, True)
    assert scene.engines.happened == [*steps, *batches, "withdraw", *steps, "forget"]
    assert await scene.erasures.receipts() == [again, receipt]
    assert {what for what, _, _ in scene.said} >= {"days of stored events", "batches that wait for customers"}


async def test_nothing_is_deleted_before_every_parent_heard(scene: Scene) -> None:
    """Until then an older event may still be on its way into the store."""
    scene.engines.parents = {"one": (1, scene.clock.now()), "two": (0, scene.clock.now())}
    task = scene.begin()
    for _ in range(20):
        await scene.passed(1.0)
        scene.engines.parents["two"] = (0, scene.clock.now())
    assert scene.engines.happened == []
    assert scene.said[-1] == ("processes that have heard of it", 1, 2)
    scene.engines.parents["two"] = (1, scene.clock.now())
    assert (await scene.ended(task)).silent == ()
    assert scene.engines.happened


async def test_a_parent_that_starts_meanwhile_is_waited_for(scene: Scene) -> None:
    """It may have asked who was erased just before this one was noted."""
    task = scene.begin()
    while not scene.clock._sleepers and not scene.engines.happened:
        await scene.passed(0)  # it is noted, and waits
    scene.engines.parents = {"new": (0, scene.clock.now())}
    await scene.passed(HEARD_SECONDS_MIN)
    await scene.passed(1)
    assert scene.engines.happened == []
    scene.engines.parents = {"new": (1, scene.clock.now())}
    await scene.ended(task)


async def test_a_parent_that_is_silent_is_told_of(scene: Scene) -> None:
    """It is gone, mostly; if it is not, whoever erases must know."""
    scene.engines.parents = {"gone": (0, scene.clock.now())}
    erased = await scene.erase()
    assert erased.silent == ("gone",)
    assert scene.clock.now() - scene.engines.parents["gone"][1] > SILENT_SECONDS_MAX


async def test_what_is_being_tried_is_waited_for(scene: Scene) -> None:
    """The receipt is not finished before."""
    scene.engines.claimed = {"2"}
    task = scene.begin()
    for _ in range(20):
        await scene.passed(1.0)
    assert scene.engines.happened[-1] == "batch 3"
    assert (await scene.erasures.receipts())[0].finished_at_ms is None
    scene.engines.claimed = set()
    assert (await scene.ended(task)).receipt.batch_events == 3


async def test_what_is_split_meanwhile_is_found_again(scene: Scene) -> None:
    """Its halves have ids of their own, which may stand where the walk has been."""
    scene.engines.claimed = {"2"}
    task = scene.begin()
    while not scene.engines.happened or scene.engines.happened[-1] != "batch 3":
        await scene.passed(0.5)
    del scene.engines.batches["2"]
    scene.engines.batches |= {"0": Rewritten(rewritten=1, events=1)}
    scene.engines.claimed = set()
    receipt = (await scene.ended(task)).receipt
    assert (receipt.batches_rewritten, receipt.batches_dropped, receipt.batch_events) == (2, 0, 3)


@pytest.mark.parametrize(
    "step", ["withdraw", "events of 24", "events of 25", "reasons", "segments", "batch 1", "batch 2", "forget"]
)
async def test_cut_off_anywhere_it_is_taken_up(scene: Scene, step: str) -> None:
    """By the same command: one receipt, with everything that was erased in both."""
    scene.engines.fails_at = step
    with pytest.raises(UnavailableError):
        await scene.erase(with_suppressions=True)
    [begun] = await scene.erasures.receipts()
    assert begun.finished_at_ms is None
    receipt = (await scene.erase()).receipt
    assert (receipt.id, receipt.at_ms) == (begun.id, begun.at_ms)
    counts = (receipt.events, receipt.batches_rewritten, receipt.batches_dropped, receipt.batch_events)
    assert (counts, receipt.suppressions) == ((5, 1, 1, 3), 2)
    assert await scene.erasures.receipts() == [receipt]
    assert scene.engines.happened[-1] == "forget"
