"""The contract of segments: put once, joined once, in order; an event is in a segment or in a batch, never in both or none."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection
from tests.builders import envelope, line
from tests.outboxes import TARGET, batch, claim, closing, delivered, ids, retry, segment

from omni_etl.backends.database import DatabaseOutbox, open_database
from omni_etl.backends.database.outbox_batches import BODY_BYTES_MAX, SEGMENTS_MAX, join_segments
from omni_etl.clock import ManualClock
from omni_etl.outbox import Cut, DueBatch, OpenSegments, OutboxCounts, Segment


class Scene:
    """An outbox with segments of numbered events."""

    def __init__(self, database_url: str, clock: ManualClock) -> None:
        self.clock = clock
        self.subject = DatabaseOutbox(open_database(database_url, "outbox", clock), clock)
        self.puts = 0
        self.events = 0

    def numbered(self, count: int, *, webhook_id: str = "w") -> Segment:
        """The next events."""
        first, self.events = self.events, self.events + count
        return segment(f"{webhook_id}-{first}", *range(first, self.events), webhook_id=webhook_id)

    async def put(self, *segments: Segment) -> None:
        """In one envelope."""
        self.puts += 1
        await self.subject.put(envelope([line()], seq=self.puts), Cut((), segments))

    async def waiting(self) -> int:
        """Events in segments."""
        return sum(each.event_count for each in await self.subject.open_segments())

    async def taken(self, *webhook_ids: str) -> list[DueBatch]:
        """Every batch, in the order of its first event."""
        due = await claim(self.subject, *webhook_ids)
        return sorted(due, key=lambda each: events(each)[0])


def events(due: DueBatch) -> list[int]:
    """Their numbers; there are as many as it says."""
    found: list[int] = json.loads(due.batch.body)
    assert len(found) == due.batch.event_count
    return found


@pytest.fixture
async def scene(database_url: str, clock: ManualClock) -> AsyncIterator[Scene]:
    """Empty and open."""
    scene = Scene(database_url, clock)
    await scene.subject.open()
    yield scene
    await scene.subject.close()


async def test_segments_are_put_with_the_ledger_row_once(scene: Scene) -> None:
    """Beside batches; known, nothing is written."""
    outbox, put_at_ms = scene.subject, int(scene.clock.now() * 1000)
    cut = Cut([batch("full", event_count=2)], [segment("s", 1, 2), segment("v", 3, webhook_id="v")])
    for was_known in (False, True):
        assert (await outbox.put(envelope([line()]), cut) is None) == was_known
        scene.clock.advance(1)
        found = sorted(await outbox.open_segments(), key=lambda each: each.webhook_id)
        assert found == [OpenSegments("v", 1, 1, put_at_ms), OpenSegments("w", 2, 3, put_at_ms)]
        assert await outbox.counts() == OutboxCounts(1, 5, 0, 0, 0, 0)


async def test_a_joined_batch_is_like_any_other(scene: Scene) -> None:
    """As the webhook is when it is closed; due at once, or claimed by who closed it."""
    await scene.put(segment("a", 1, 2), segment("v", 9, webhook_id="v"))
    await scene.put(segment("b", 3))
    [due] = await scene.subject.join([closing(is_claimed=True), closing("v")], claim_seconds=30)
    assert (due.batch.webhook_id, due.batch.target, due.batch.headers) == ("w", TARGET, {"X-One": "1"})
    assert (due.batch.body, due.batch.event_count, due.batch.parent_id, due.attempts) == (b"[1,2,3]", 3, None, 0)
    assert await scene.waiting() == 0
    assert [each.batch.body for each in await claim(scene.subject, "v", "w")] == [b"[9]"]
    assert await scene.subject.settle(due, retry(60))
    scene.clock.advance(61)
    [again] = await claim(scene.subject)
    assert (again.batch, again.attempts) == (due.batch, 1)
    assert await scene.subject.settle(again, delivered())
    assert await scene.subject.counts() == OutboxCounts(1, 1, 1, 3, 0, 0)


async def test_what_does_not_fill_a_batch_waits_on(scene: Scene) -> None:
    """In its place, until everything is wanted."""
    for count in (3, 4, 3, 2):
        await scene.put(scene.numbered(count))
    assert await scene.subject.join([closing(events_max=10, is_everything=False)], claim_seconds=30) == []
    assert await scene.waiting() == 2
    await scene.put(scene.numbered(3))
    await scene.subject.join([closing(events_max=10, is_everything=False)], claim_seconds=30)
    assert await scene.waiting() == 5
    await scene.subject.join([closing(events_max=10)], claim_seconds=30)
    assert [events(each) for each in await scene.taken()] == [[*range(10)], [*range(10, 15)]]


async def test_no_batch_is_too_large(scene: Scene) -> None:
    """2 MiB to the byte, brackets and commas with it."""
    half = BODY_BYTES_MAX // 2
    for name, more in (("exactly", b""), ("a byte too much", b"3")):
        first = Segment("w", name, b"1" * (half - 1), 1)
        await scene.put(first, Segment("w", f"{name}, second", b"2" * (half - 2) + more, 1))
        await scene.subject.join([closing()], claim_seconds=30)
    sizes = sorted(len(each.batch.body) for each in await claim(scene.subject))
    assert sizes == [half + 1, half + 1, BODY_BYTES_MAX]


async def test_what_is_large_enough_is_closed(scene: Scene) -> None:
    """Though it are few events; the rest waits."""
    await scene.put(*(Segment("w", str(each), b"1" * (BODY_BYTES_MAX // 3), 1) for each in range(4)))
    await scene.subject.join([closing(is_everything=False)], claim_seconds=30)
    [due] = await claim(scene.subject)
    assert (due.batch.event_count, await scene.waiting()) == (2, 2)


async def test_many_segments_take_many_steps(scene: Scene) -> None:
    """Each of a bounded size; full batches come out, whichever webhooks are closed together."""
    webhook_ids = [f"w{number}" for number in range(4)]
    per_webhook = SEGMENTS_MAX // 2 - 10  # a step takes those of two, and leaves the next one whole
    for _ in range(per_webhook):
        await scene.put(*(scene.numbered(1, webhook_id=each) for each in webhook_ids))
    steps = 0
    while left := await scene.waiting():
        steps += 1
        await scene.subject.join([closing(each, events_max=50) for each in webhook_ids], claim_seconds=30)
        assert 0 < left - await scene.waiting() <= SEGMENTS_MAX
    due = await scene.taken(*webhook_ids)
    assert [each.batch.event_count for each in due if each.batch.event_count != 50] == [per_webhook % 50] * 4
    assert steps <= 3


async def test_more_events_than_a_step_holds_are_closed_all_the_same(scene: Scene) -> None:
    """A webhook may want a thousand at once, and get them one an envelope."""
    for _ in range(SEGMENTS_MAX + 1):
        await scene.put(scene.numbered(1))
    for _ in range(2):
        await scene.subject.join([closing(events_max=1_000)], claim_seconds=30)
    assert [each.batch.event_count for each in await scene.taken()] == [SEGMENTS_MAX, 1]


async def test_segments_of_a_webhook_that_is_no_more_are_dropped(scene: Scene) -> None:
    """And counted; those of others stay."""
    await scene.put(segment("a", 1, 2), segment("v", 9, webhook_id="v"))
    await scene.put(segment("b", 3))
    assert await scene.subject.drop_segments("w") == 3
    assert await scene.subject.drop_segments("w") == 0
    assert await scene.subject.drop_segments("never heard of") == 0
    assert await scene.subject.counts() == OutboxCounts(0, 1, 0, 0, 0, 0, dropped_events=3)
    assert [each.webhook_id for each in await scene.subject.open_segments()] == ["v"]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_joining_loses_and_doubles_nothing(scene: Scene, data: st.DataObject) -> None:
    """Whatever is put and closed in whatever order: each event once, in order, in batches as large as they may be."""
    first = scene.events
    events_max = data.draw(st.integers(5, 12))
    for count in data.draw(st.lists(st.integers(0, 5), max_size=30)):
        if count:
            await scene.put(scene.numbered(count))
        else:
            await scene.subject.join([closing(events_max=events_max, is_everything=False)], claim_seconds=30)
            assert await scene.waiting() < events_max + 5
    await scene.subject.join([closing(events_max=events_max)], claim_seconds=30)
    due = await scene.taken()
    assert [each for one in due for each in events(one)] == [*range(first, scene.events)]
    assert all(one.batch.event_count <= events_max for one in due)
    assert all(one.batch.event_count + next_.batch.event_count > events_max for one, next_ in pairwise(due))
    for each in due:
        assert await scene.subject.settle(each, delivered())


async def test_closers_at_once_give_each_event_to_one_batch(scene: Scene) -> None:
    """While others put; an id is given once; whoever comes second finds less, or nothing."""
    webhook_ids = [f"w{number}" for number in range(5)]
    closers = [closing(each, events_max=7, is_everything=False) for each in webhook_ids]

    async def put() -> None:
        for _ in range(12):
            await scene.put(*(scene.numbered(3, webhook_id=each) for each in webhook_ids))

    async def close() -> None:
        for _ in range(12):
            await scene.subject.join(closers, claim_seconds=30)

    await asyncio.gather(put(), put(), close(), close(), close())
    await scene.subject.join([closing(each) for each in webhook_ids], claim_seconds=30)
    due = await claim(scene.subject, *webhook_ids)
    assert sorted(each for one in due for each in events(one)) == [*range(scene.events)]
    assert len(set(ids(due))) == len(due)
    assert (await scene.subject.counts()).waiting_events == scene.events


async def test_dropping_and_closing_at_once_counts_each_event_once(scene: Scene) -> None:
    """It was dropped or it is in a batch; the counters know which."""
    for _ in range(20):
        await scene.put(*(scene.numbered(1) for _ in range(3)))
        drops = [scene.subject.drop_segments("w") for _ in range(3)]
        await asyncio.gather(*drops, *(scene.subject.join([closing()], claim_seconds=30) for _ in range(3)))
        while await scene.waiting():
            await scene.subject.drop_segments("w")
    counts = await scene.subject.counts()
    found = [each for one in await claim(scene.subject) for each in events(one)]
    assert (counts.waiting_events, counts.dropped_events) == (len(found), scene.events - len(found))
    assert len(set(found)) == len(found)


async def test_what_fails_in_the_middle_leaves_segments(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a batch beside them: both are one transaction. The same again makes the same batch."""
    await scene.put(scene.numbered(3))

    def fail(connection: Connection, *arguments: object, **more: object) -> None:
        join_segments(connection, *arguments, **more)  # type: ignore[arg-type]  # as they came
        raise RuntimeError("in the middle")

    with monkeypatch.context() as broken:
        broken.setattr("omni_etl.backends.database.outbox.join_segments", fail)
        with pytest.raises(RuntimeError, match="in the middle"):
            await scene.subject.join([closing()], claim_seconds=30)
    assert (await scene.waiting(), await claim(scene.subject)) == (3, [])
    await scene.subject.join([closing()], claim_seconds=30)
    assert [events(each) for each in await scene.taken()] == [[0, 1, 2]]


async def test_who_is_cancelled_while_closing_leaves_segments_or_a_batch(scene: Scene) -> None:
    """Wherever it was; what was claimed for it comes when the claim lapses."""
    for turns in range(12):
        await scene.put(scene.numbered(2))
        task = asyncio.create_task(scene.subject.join([closing(is_claimed=True)], claim_seconds=30))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    scene.clock.advance(31)
    await scene.subject.join([closing()], claim_seconds=30)
    found = [each for one in await scene.taken() for each in events(one)]
    assert found == [*range(scene.events)]
