"""backends.database.outbox_erasing: batches never change, so those with an erased recipient's events are replaced."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests import outboxes
from tests.builders import envelope, line
from tests.outboxes import claim, closing, delivered, given_up, retry

from omni_etl.backends.database import DatabaseOutbox, DatabaseOutboxEraser, open_database
from omni_etl.backends.database.outbox_erasing import SEGMENTS_AT_ONCE
from omni_etl.backends.database.replays import DatabaseReplays
from omni_etl.clock import ManualClock
from omni_etl.erasure import Rewritten
from omni_etl.outbox import Batch, Cut, DueBatch, Segment, half_ids
from omni_etl.replay import Replay, Stride

WHO = "a@x.test"


class Scene:
    """An outbox, and who erases from it."""

    def __init__(self, database_url: str, clock: ManualClock) -> None:
        database = self.database = open_database(database_url, "outbox", clock)
        self.clock = clock
        self.outbox = DatabaseOutbox(database, clock)
        self.eraser = DatabaseOutboxEraser(database, clock)
        self.puts = 0

    async def put(self, *batches: Batch, segments: tuple[Segment, ...] = ()) -> None:
        """Of one envelope."""
        self.puts += 1
        await self.outbox.put(envelope([line()], seq=self.puts), Cut(batches, segments))

    async def due(self) -> list[DueBatch]:
        """Claimed now."""
        return await claim(self.outbox)

    async def erase(self) -> Rewritten:
        """From all batches."""
        return await self.eraser.rewrite(await self.eraser.batch_ids("", count_max=1_000), WHO)


@pytest.fixture
async def scene(database_url: str, clock: ManualClock) -> AsyncIterator[Scene]:
    """Empty and open."""
    subject = Scene(database_url, clock)
    await subject.outbox.open()
    await subject.eraser.open()
    yield subject
    await subject.outbox.close()
    await subject.eraser.close()


def elements(*recipients: str) -> bytes:
    """An event to each of these, as they are sent."""
    events = [
        {"msys": {"message_event": {"type": "delivery", "rcpt_to": each, "n": at}}}
        for at, each in enumerate(recipients)
    ]
    return b",".join(json.dumps(each, separators=(",", ":")).encode() for each in events)


def batch(number: int, *recipients: str) -> Batch:
    """An event to each of these."""
    body = b"[%b]" % elements(*recipients)
    return outboxes.batch(f"batch-{number}", event_count=len(recipients), body=body)


def segment(name: str, *recipients: str, webhook_id: str = "w") -> Segment:
    """Likewise."""
    return Segment(webhook_id, name, elements(*recipients), len(recipients))


def recipients(due: DueBatch) -> list[str]:
    """Of its events."""
    return [each["msys"]["message_event"]["rcpt_to"] for each in json.loads(due.batch.body)]


async def test_a_batch_without_them_is_another_batch(scene: Scene) -> None:
    """Another id, since its bytes are others; all else stays, and the elements stand as they stood."""
    before = replace(batch(1, "b@x.test", " A@X.test", "c@x.test", WHO), parent_id="batch-0")
    await scene.put(before)
    assert await scene.erase() == Rewritten(rewritten=1, events=2)
    [due] = await scene.due()
    assert due.batch.id != "batch-1"
    assert (recipients(due), due.batch.event_count) == (["b@x.test", "c@x.test"], 2)
    kept = [
        b'{"msys":{"message_event":{"type":"delivery","rcpt_to":"%b@x.test","n":%d}}}' % each
        for each in ((b"b", 0), (b"c", 2))
    ]
    assert due.batch.body == b"[%b]" % b",".join(kept)
    assert due.batch == replace(before, id=due.batch.id, body=due.batch.body, event_count=2)
    counts = await scene.outbox.counts()
    assert (counts.waiting_batches, counts.waiting_events) == (1, 2)
    assert await scene.outbox.settle(due, delivered())
    assert (await scene.outbox.counts()).delivered_events == 2


async def test_a_batch_of_nothing_else_goes(scene: Scene) -> None:
    """And is counted nowhere; those of others are not touched."""
    await scene.put(batch(1, WHO, WHO), batch(2, "b@x.test"))
    assert await scene.erase() == Rewritten(dropped=1, events=2)
    [due] = await scene.due()
    assert due.batch == batch(2, "b@x.test")
    counts = await scene.outbox.counts()
    assert (counts.waiting_batches, counts.waiting_events) == (1, 1)


async def test_repeated_it_finds_nothing(scene: Scene) -> None:
    """What was cut off may be taken up."""
    await scene.put(batch(1, WHO, "b@x.test"), segments=(segment("s", WHO, "b@x.test"),))
    await scene.erase()
    await scene.eraser.rewrite_segments(WHO)
    [before] = await scene.due()
    assert await scene.erase() == Rewritten()
    assert await scene.eraser.rewrite_segments(WHO) == Rewritten()
    assert await scene.outbox.settle(before, delivered())


async def test_what_is_being_tried_is_left_to_its_attempt(scene: Scene) -> None:
    """It may arrive; another one under another id beside it would tell the customer twice. When the claim ends, its turn comes."""
    await scene.put(batch(1, WHO, "b@x.test"), batch(2, WHO, "c@x.test"))
    ends, lapses = sorted(await scene.due(), key=lambda due: due.batch.id)
    assert await scene.erase() == Rewritten(claimed=(ends.batch.id, lapses.batch.id))
    assert await scene.outbox.settle(ends, retry(60))
    assert await scene.erase() == Rewritten(rewritten=1, events=1, claimed=(lapses.batch.id,))
    scene.clock.advance(31)
    assert await scene.erase() == Rewritten(rewritten=1, events=1)
    assert not await scene.outbox.settle(lapses, delivered())
    scene.clock.advance(30)
    again = await scene.due()
    assert sorted((recipients(each), each.attempts) for each in again) == [(["b@x.test"], 1), (["c@x.test"], 0)]


async def test_what_was_given_up_is_rewritten_too(scene: Scene) -> None:
    """It is kept for two weeks."""
    await scene.put(batch(1, WHO, "b@x.test"), batch(2, WHO))
    for due in await scene.due():
        await scene.outbox.settle(due, given_up())
    assert await scene.erase() == Rewritten(rewritten=1, dropped=1, events=2)
    counts = await scene.outbox.counts()
    assert (counts.given_up_batches, counts.given_up_events, counts.waiting_batches) == (1, 1, 0)


async def test_ids_come_in_order_some_at_a_time(scene: Scene) -> None:
    """So that a walk ends, whatever is put meanwhile."""
    await scene.put(*(batch(number, "b@x.test") for number in range(5)))
    first = await scene.eraser.batch_ids("", count_max=3)
    assert [*first, *await scene.eraser.batch_ids(first[-1], count_max=3)] == [f"batch-{number}" for number in range(5)]
    assert await scene.eraser.batch_ids("batch-4", count_max=3) == []


async def test_what_is_not_yet_a_batch_is_rewritten_in_its_place(scene: Scene) -> None:
    """Or goes, where nothing is left; of every webhook; what is joined from the rest is in order and counted."""
    await scene.put(segments=(segment("1", "b@x.test", WHO), segment("2", WHO, webhook_id="v")))
    await scene.put(segments=(segment("3", WHO, " A@X.test"), segment("4", "c@x.test")))
    assert await scene.eraser.rewrite_segments(WHO) == Rewritten(events=4)
    [left] = await scene.outbox.open_segments()
    size_bytes = len(elements("b@x.test")) + len(elements("c@x.test"))
    assert (left.webhook_id, left.event_count, left.element_bytes) == ("w", 2, size_bytes)
    [due] = await scene.outbox.join([closing(is_claimed=True), closing("v")], claim_seconds=30)
    assert recipients(due) == ["b@x.test", "c@x.test"]
    counts = await scene.outbox.counts()
    assert (counts.waiting_batches, counts.waiting_events, counts.dropped_events) == (1, 2, 0)


async def test_however_many_there_are(scene: Scene) -> None:
    """Some at a time."""
    for number in range(5):
        many = (segment(f"{number}/{at}", "b@x.test", WHO) for at in range(SEGMENTS_AT_ONCE // 2))
        await scene.put(segments=tuple(many))
    assert (await scene.eraser.rewrite_segments(WHO)).events == SEGMENTS_AT_ONCE // 2 * 5
    [left] = await scene.outbox.open_segments()
    assert left.event_count == SEGMENTS_AT_ONCE // 2 * 5


async def test_erasing_and_closing_at_once_leave_none_of_them(scene: Scene) -> None:
    """First the segments, then the batches: an event is found in one of them, and all others stay, each once."""
    for round_ in range(15):
        await scene.put(segments=tuple(segment(f"{round_}/{at}", f"{round_}-{at}@x.test", WHO) for at in range(9)))

        async def erase() -> int:
            found = (await scene.eraser.rewrite_segments(WHO)).events
            return found + (await scene.erase()).events

        closers = [scene.outbox.join([closing(events_max=6)], claim_seconds=30) for _ in range(4)]
        erased, *_ = await asyncio.gather(erase(), *closers)
        assert erased == 9
    await scene.outbox.join([closing()], claim_seconds=30)
    found = sorted(each for due in await scene.due() for each in recipients(due))
    assert found == sorted(f"{round_}-{at}@x.test" for round_ in range(15) for at in range(9))
    assert (await scene.outbox.counts()).waiting_events == len(found)


async def test_halves_are_known_by_name(scene: Scene) -> None:
    """Those of every split since then, by the note that was written with it."""
    await scene.put(outboxes.batch("old"), outboxes.batch("a"), outboxes.batch("b"))
    due = {each.batch.id: each for each in await scene.due()}
    await scene.outbox.settle(due["old"], outboxes.split(outboxes.batch("x"), outboxes.batch("y")))
    scene.clock.advance(60)
    began_ms = int(scene.clock.now() * 1000)
    await scene.outbox.settle(due["a"], outboxes.split(outboxes.batch("1"), outboxes.batch("2")))
    await scene.outbox.settle(due["b"], retry(1))
    assert sorted(await scene.eraser.halves_since(began_ms)) == sorted(half_ids("a"))
    assert len(await scene.eraser.halves_since(0)) == 4


async def test_a_page_of_a_replay_that_was_read_before_is_not_written(scene: Scene) -> None:
    """Its events may have been read before the store forgot them; the next one reads it anew."""
    replays = DatabaseReplays(scene.database, scene.clock)
    await replays.begin(Replay("job", "w", 0, 1, 1, "waiting", 0))
    reading = await replays.claim(claim_seconds=60)
    assert reading is not None
    await scene.eraser.recall_replays()
    page = Stride([outboxes.batch("a")], 1, None, is_last=True)
    assert await replays.step(reading, page, pause_seconds=0) is None
    anew = await replays.claim(claim_seconds=60)
    assert anew is not None
    assert await replays.step(anew, page, pause_seconds=0) is not None
