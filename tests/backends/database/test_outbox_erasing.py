"""backends.database.outbox_erasing: batches never change, so those with an erased recipient's events are replaced."""

import json
from collections.abc import AsyncIterator

import pytest
from tests.builders import envelope, line

from omni_etl.backends.database import DatabaseOutbox, DatabaseOutboxEraser, open_database
from omni_etl.clock import ManualClock
from omni_etl.erasure import Rewritten
from omni_etl.outbox import Batch, DueBatch

WHO = "a@x.test"


class Scene:
    """An outbox, and who erases from it."""

    def __init__(self, database_url: str, clock: ManualClock) -> None:
        database = open_database(database_url, "outbox", clock)
        self.clock = clock
        self.outbox = DatabaseOutbox(database, clock)
        self.eraser = DatabaseOutboxEraser(database, clock)

    async def put(self, *batches: Batch) -> None:
        """Of one envelope, whose key is the first one's id."""
        seq = int(batches[0].id.removeprefix("batch-"))
        await self.outbox.put(envelope([line()], seq=seq), batches)

    async def due(self) -> list[DueBatch]:
        """Claimed now."""
        return await self.outbox.claim(count_max=100, claim_seconds=30)

    async def erase(self) -> Rewritten:
        """From everything."""
        return await self.eraser.rewrite(await self.eraser.batch_ids("", count_max=100), WHO)


@pytest.fixture
async def scene(database_url: str, clock: ManualClock) -> AsyncIterator[Scene]:
    """Empty and open."""
    subject = Scene(database_url, clock)
    await subject.outbox.open()
    await subject.eraser.open()
    yield subject
    await subject.outbox.close()
    await subject.eraser.close()


def batch(number: int, *recipients: str) -> Batch:
    """An event to each of these, as they are sent."""
    events = [
        {"msys": {"message_event": {"type": "delivery", "rcpt_to": each, "n": at}}}
        for at, each in enumerate(recipients)
    ]
    body = json.dumps(events, separators=(",", ":")).encode()
    return Batch(f"batch-{number}", "w", "https://x.test/", {"X-One": "1"}, body, event_count=len(recipients))


def recipients(due: DueBatch) -> list[str]:
    """Of its events."""
    return [each["msys"]["message_event"]["rcpt_to"] for each in json.loads(due.batch.body)]


async def test_a_batch_without_them_is_another_batch(scene: Scene) -> None:
    """Another id, since its bytes are others; all else stays, and the elements stand as they stood."""
    await scene.put(batch(1, "b@x.test", " A@X.test", "c@x.test", WHO))
    assert await scene.erase() == Rewritten(rewritten=1, events=2)
    [due] = await scene.due()
    assert due.batch.id != "batch-1"
    assert (recipients(due), due.batch.event_count) == (["b@x.test", "c@x.test"], 2)
    kept = [
        b'{"msys":{"message_event":{"type":"delivery","rcpt_to":"%b@x.test","n":%d}}}' % each
        for each in ((b"b", 0), (b"c", 2))
    ]
    assert due.batch.body == b"[%b]" % b",".join(kept)
    assert (due.batch.webhook_id, due.batch.target, due.batch.headers) == ("w", "https://x.test/", {"X-One": "1"})
    counts = await scene.outbox.counts()
    assert (counts.waiting_batches, counts.waiting_events) == (1, 2)
    assert await scene.outbox.delivered(due, 200)
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
    await scene.put(batch(1, WHO, "b@x.test"))
    await scene.erase()
    [before] = await scene.due()
    assert await scene.erase() == Rewritten()
    assert await scene.outbox.delivered(before, 200)


async def test_what_is_being_tried_is_left_to_its_attempt(scene: Scene) -> None:
    """It may arrive; another one under another id beside it would tell the customer twice. When the claim ends, its turn comes."""
    await scene.put(batch(1, WHO, "b@x.test"), batch(2, WHO, "c@x.test"))
    ends, lapses = sorted(await scene.due(), key=lambda due: due.batch.id)
    assert await scene.erase() == Rewritten(claimed=(ends.batch.id, lapses.batch.id))
    assert await scene.outbox.failed(ends, "503", retry_in_seconds=60)
    assert await scene.erase() == Rewritten(rewritten=1, events=1, claimed=(lapses.batch.id,))
    scene.clock.advance(31)
    assert await scene.erase() == Rewritten(rewritten=1, events=1)
    assert not await scene.outbox.delivered(lapses, 200)
    scene.clock.advance(30)
    again = await scene.due()
    assert sorted((recipients(each), each.attempts) for each in again) == [(["b@x.test"], 1), (["c@x.test"], 0)]


async def test_what_was_given_up_is_rewritten_too(scene: Scene) -> None:
    """It is kept for two weeks."""
    await scene.put(batch(1, WHO, "b@x.test"), batch(2, WHO))
    for due in await scene.due():
        await scene.outbox.failed(due, "503", retry_in_seconds=None)
    assert await scene.erase() == Rewritten(rewritten=1, dropped=1, events=2)
    counts = await scene.outbox.counts()
    assert (counts.given_up_batches, counts.given_up_events, counts.waiting_batches) == (1, 1, 0)


async def test_ids_come_in_order_some_at_a_time(scene: Scene) -> None:
    """So that a walk ends, whatever is put meanwhile."""
    await scene.put(*(batch(number, "b@x.test") for number in range(5)))
    first = await scene.eraser.batch_ids("", count_max=3)
    assert [*first, *await scene.eraser.batch_ids(first[-1], count_max=3)] == [f"batch-{number}" for number in range(5)]
    assert await scene.eraser.batch_ids("batch-4", count_max=3) == []
