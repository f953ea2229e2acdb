"""The contract of lanes: what each verdict does to its webhook's, in their order; what is due; what a full backlog drops."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.builders import envelope, line
from tests.outboxes import batch, claim, delivered, given_up, ids, retry, segment

from omni_etl.backends.database import DatabaseDeliveries, DatabaseOutbox, open_database
from omni_etl.clock import ManualClock
from omni_etl.outbox import FAILURES_OPEN, Cut, Dropped, DueBatch, Lane, Verdict, Wanted


class Scene:
    """An outbox, and what people see of it."""

    def __init__(self, database_url: str, clock: ManualClock) -> None:
        self.database = open_database(database_url, "outbox", clock)
        self.clock = clock
        self.outbox = DatabaseOutbox(self.database, clock)
        self.deliveries = DatabaseDeliveries(self.database, clock)
        self.puts = 0

    @property
    def now_ms(self) -> int:
        """As tables count it."""
        return int(self.clock.now() * 1000)

    async def put(self, *names: str, webhook_id: str = "w", body: bytes = b"[]") -> None:
        """Batches of ten events, in an envelope of their own."""
        self.puts += 1
        batches = [batch(name, webhook_id, event_count=10, body=body) for name in names]
        await self.outbox.put(envelope([line()], seq=self.puts), Cut(batches))

    async def claimed(self, count: int) -> list[DueBatch]:
        """So many new ones."""
        await self.put(*(f"{self.puts}-{number}" for number in range(count)))
        return await claim(self.outbox)

    async def lane(self) -> Lane:
        """Of `w`."""
        return (await self.deliveries.lanes(["w"]))["w"]

    async def course(self) -> tuple[int, int | None, int]:
        """Failures in a row, since when, and until when nothing is tried."""
        lane = await self.lane()
        return lane.failures, lane.failing_since_ms, lane.resume_at_ms


@pytest.fixture
async def scene(database_url: str, clock: ManualClock) -> AsyncIterator[Scene]:
    """Empty and open."""
    subject = Scene(database_url, clock)
    await subject.outbox.open()
    yield subject
    await subject.outbox.close()


async def test_failures_in_a_row_are_counted_since_the_first(scene: Scene) -> None:
    """A success ends the row, whatever failed before; the next failure begins another."""
    one, two, three, four = await scene.claimed(4)
    began_ms = scene.now_ms
    await scene.outbox.settle(one, retry(60))
    scene.clock.advance(1)
    await scene.outbox.settle(two, given_up())
    assert await scene.course() == (2, began_ms, 0)
    scene.clock.advance(1)
    await scene.outbox.settle(three, delivered())
    assert await scene.course() == (0, None, 0)
    scene.clock.advance(1)
    await scene.outbox.settle(four, retry(60))
    assert await scene.course() == (1, began_ms + 3_000, 0)
    lane = await scene.lane()
    assert (lane.succeeded_at_ms, lane.failed_at_ms) == (began_ms + 2_000, began_ms + 3_000)


async def test_a_hold_lasts_until_the_last_one_ends(scene: Scene) -> None:
    """A shorter one later shortens nothing, and neither does a success, as long as the breaker was shut."""
    one, two, three = await scene.claimed(3)
    await scene.outbox.settle(one, retry(60, "429", hold_seconds=100))
    await scene.outbox.settle(two, retry(60, "429", hold_seconds=10))
    assert (await scene.course())[2] == scene.now_ms + 100_000
    await scene.outbox.settle(three, delivered())
    assert await scene.course() == (0, None, scene.now_ms + 100_000)


async def test_a_probe_that_goes_through_ends_the_hold(scene: Scene) -> None:
    """The breaker was open, and now the customer is back."""
    *failing, last = await scene.claimed(FAILURES_OPEN + 1)
    for each in failing:
        await scene.outbox.settle(each, retry(60, hold_seconds=300))
    assert await scene.course() == (FAILURES_OPEN, scene.now_ms, scene.now_ms + 300_000)
    await scene.outbox.settle(last, delivered())
    assert await scene.course() == (0, None, 0)


async def test_once_the_breaker_is_open_probes_alone_count(scene: Scene) -> None:
    """What was in flight when it opened says nothing new; since when it fails stays."""
    due = await scene.claimed(FAILURES_OPEN + 3)
    began_ms = scene.now_ms
    for each in due[:-1]:
        await scene.outbox.settle(each, retry(0))
        scene.clock.advance(0.1)
    assert await scene.course() == (FAILURES_OPEN, began_ms, 0)
    [probe] = await scene.outbox.claim({"w": Wanted(is_probe=True)}, claim_seconds=30)
    await asyncio.gather(scene.outbox.settle(probe, retry(0)), scene.outbox.settle(due[-1], retry(0)))
    assert await scene.course() == (FAILURES_OPEN + 1, began_ms, 0)


async def test_a_stop_stands_until_somebody_resumes(scene: Scene) -> None:
    """With the first reason; a success of another attempt that was under way does not end it."""
    one, two, three = await scene.claimed(3)
    await scene.outbox.settle(one, given_up("410", stop_reason="gone"))
    stopped_at_ms = scene.now_ms
    scene.clock.advance(1)
    await scene.outbox.settle(two, given_up("410", stop_reason="still gone"))
    await scene.outbox.settle(three, delivered())
    lane = await scene.lane()
    assert (lane.stopped_at_ms, lane.stopped_reason) == (stopped_at_ms, "gone")


async def test_a_stopped_lane_is_told_though_nothing_waits(scene: Scene) -> None:
    """Else who keeps fresh batches in memory would go on trying them."""
    await scene.outbox.stop("w", "a test")
    [due] = await scene.outbox.due()
    assert (due.lane.webhook_id, due.lane.stopped_reason) == ("w", "a test")
    assert (due.fresh_due_at_ms, due.retry_due_at_ms) == (None, None)
    await scene.deliveries.resume("w")
    assert await scene.outbox.due() == []


async def test_with_the_breaker_open_probes_alone_count(scene: Scene) -> None:
    """However many attempts were under way as it opened, the pauses begin with the first."""
    due = await scene.claimed(FAILURES_OPEN + 5)
    for each in due[:-1]:
        await scene.outbox.settle(each, retry(0))
    assert (await scene.course())[0] == FAILURES_OPEN
    await scene.outbox.settle(due[-1], retry(0))
    [probe] = await scene.outbox.claim({"w": Wanted(is_probe=True)}, claim_seconds=30)
    await scene.outbox.settle(probe, retry(0))
    assert (await scene.course())[0] == FAILURES_OPEN + 1


ONE_GROUP = {
    "a hold within the row that opened the breaker, then a probe": [
        *[retry(60)] * (FAILURES_OPEN - 1),
        retry(60, hold_seconds=300),
        delivered(),
    ],
    "a probe, then a shorter hold": [
        *[retry(60, hold_seconds=300)] * FAILURES_OPEN,
        delivered(),
        retry(60, "429", hold_seconds=5),
    ],
    "a hold, then a success": [retry(60, "429", hold_seconds=5), delivered(), retry(60), retry(60)],
    "stopped twice": [given_up(stop_reason="one"), delivered(), given_up(stop_reason="two"), delivered()],
}


@pytest.mark.parametrize("verdicts", ONE_GROUP.values(), ids=ONE_GROUP)
@pytest.mark.parametrize("apart", [0, 1, 4, FAILURES_OPEN])
async def test_verdicts_in_one_transaction_are_as_verdicts_one_by_one(
    scene: Scene, verdicts: list[Verdict], apart: int
) -> None:
    """However they fall into transactions, the lane is what their order says."""
    due = await scene.claimed(len(verdicts))
    for each, verdict in list(zip(due, verdicts, strict=True))[:apart]:
        await scene.outbox.settle(each, verdict)
    rest = list(zip(due, verdicts, strict=True))[apart:]
    assert all(await asyncio.gather(*(scene.outbox.settle(each, verdict) for each, verdict in rest)))
    lane = await scene.lane()
    assert (lane.failures, lane.failing_since_ms, lane.resume_at_ms) == one_by_one(verdicts, scene.now_ms)
    reasons = [each.stop_reason for each in verdicts if each.stop_reason]
    assert lane.stopped_reason == (reasons[0] if reasons else None)


def one_by_one(verdicts: list[Verdict], now_ms: int) -> tuple[int, int | None, int]:
    """The rule, spelled out; all in one moment."""
    failures = resume_at_ms = 0
    for each in verdicts:
        if each.kind == "delivered":
            resume_at_ms = 0 if failures >= FAILURES_OPEN else resume_at_ms
            failures = 0
        else:
            failures += 1
            if each.hold_seconds:
                resume_at_ms = max(resume_at_ms, now_ms + int(each.hold_seconds * 1000))
    return failures, now_ms if failures else None, resume_at_ms


async def test_what_is_due_is_told_of_both_kinds(scene: Scene) -> None:
    """The first time of each, in whatever lane batches wait; a claim ends when it lapses; who is stopped is named too."""
    began_ms = scene.now_ms
    assert await scene.outbox.due() == []
    await scene.outbox.put(envelope([line()], seq=9), Cut((), [segment("s", 1, webhook_id="segments-alone")]))
    one, two = await scene.claimed(2)
    await scene.put("given-up", webhook_id="v")
    [lost] = await claim(scene.outbox, "v")
    await scene.outbox.settle(lost, given_up())
    await scene.outbox.settle(one, retry(60))
    [found] = await scene.outbox.due()
    assert found.lane == await scene.lane()
    assert (found.fresh_due_at_ms, found.retry_due_at_ms) == (began_ms + 30_000, began_ms + 60_000)
    await scene.outbox.settle(two, retry(5))
    [found] = await scene.outbox.due()
    assert (found.fresh_due_at_ms, found.retry_due_at_ms) == (None, began_ms + 5_000)
    scene.clock.advance(1)
    await scene.put("new")
    [found] = await scene.outbox.due()
    assert (found.fresh_due_at_ms, found.retry_due_at_ms) == (began_ms + 1_000, began_ms + 5_000)
    await scene.outbox.stop("idle", "by hand")
    idle, found = sorted(await scene.outbox.due(), key=lambda each: each.lane.webhook_id)
    assert (idle.lane.webhook_id, idle.lane.stopped_reason) == ("idle", "by hand")
    assert (idle.fresh_due_at_ms, idle.retry_due_at_ms) == (None, None)


async def test_a_full_backlog_drops_the_oldest(scene: Scene) -> None:
    """As much as is too much, counted; of this webhook alone, and what was given up does not count."""
    for number in range(5):
        await scene.put(f"{number}", body=bytes(range(256)))
        scene.clock.advance(1)
    await scene.put("other", webhook_id="v")
    [lost] = await claim(scene.outbox, count_max=1)
    await scene.outbox.settle(lost, given_up())
    one = (await scene.lane()).waiting_bytes // 4
    assert await scene.outbox.drop_overflow("w", bytes_max=one * 4, cut_after_ms=0) == Dropped(0, 0)
    assert await scene.outbox.drop_overflow("w", bytes_max=one * 2 + 1, cut_after_ms=0) == Dropped(2, 20)
    assert await scene.outbox.drop_overflow("w", bytes_max=one * 2 + 1, cut_after_ms=0) == Dropped(0, 0)
    lane = await scene.lane()
    assert (lane.waiting_batches, lane.waiting_events, lane.waiting_bytes) == (2, 20, 2 * one)
    assert (lane.dropped_events, lane.given_up_events) == (20, 10)
    assert sorted(ids(await claim(scene.outbox, "v", "w"))) == ["3", "4", "other"]
    assert (await scene.outbox.counts()).dropped_events == 20


async def test_what_is_too_old_is_dropped(scene: Scene) -> None:
    """Whether its webhook is paused, stopped or gone: nothing waits for ever. What is being tried is left to its attempt."""
    await scene.put("tried")
    [tried] = await claim(scene.outbox)
    await scene.put("old", "older")
    old_ms = scene.now_ms
    await scene.outbox.stop("w", "by hand")
    scene.clock.advance(20)
    await scene.put("new")
    assert await scene.outbox.drop_overflow("w", bytes_max=10**9, cut_after_ms=old_ms) == Dropped(0, 0)
    assert await scene.outbox.drop_overflow("w", bytes_max=10**9, cut_after_ms=old_ms + 1) == Dropped(2, 20)
    assert await scene.outbox.settle(tried, retry(1))
    scene.clock.advance(2)
    assert await scene.outbox.drop_overflow("w", bytes_max=10**9, cut_after_ms=old_ms + 1) == Dropped(1, 10)
    assert ids(await claim(scene.outbox)) == ["new"]


async def test_what_waits_for_its_next_attempt_is_dropped_too(scene: Scene) -> None:
    """A customer that takes one in ten leaves a backlog of retries, none of them due for hours: the limit is one of them too."""
    for each in await scene.claimed(4):
        await scene.outbox.settle(each, retry(36_000))
    await scene.put("tried")
    [tried] = await claim(scene.outbox)
    one = (await scene.lane()).waiting_bytes // 5
    assert await scene.outbox.drop_overflow("w", bytes_max=3 * one, cut_after_ms=0) == Dropped(2, 20)
    assert await scene.outbox.drop_overflow("w", bytes_max=0, cut_after_ms=0) == Dropped(2, 20)
    assert await scene.outbox.settle(tried, delivered())
    assert (await scene.lane()).waiting_bytes == 0


async def test_two_who_drop_at_once_drop_no_more_than_one(scene: Scene) -> None:
    """A limit is reached once."""
    await scene.put(*map(str, range(40)))
    one = (await scene.lane()).waiting_bytes // 40
    dropped = await asyncio.gather(
        *(scene.outbox.drop_overflow("w", bytes_max=one * 30, cut_after_ms=0) for _ in range(6))
    )
    assert sum(each.batches for each in dropped) == 10
    assert (await scene.lane()).waiting_batches == 30
