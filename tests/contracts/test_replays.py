"""The contract of replays: a job's batches and its place move together, for one holder at a time, until it is over."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.outboxes import batch

from omni_etl.backends.database import DatabaseDeliveries, DatabaseOutbox, open_database
from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.replays import DatabaseReplays
from omni_etl.clock import ManualClock
from omni_etl.event_search import Place
from omni_etl.replay import Replay, Replays, Stride

JOB = Replay("job", "w", 1_000, 2_000, 500, "waiting", 10)
PLACE = Place(1_500, "key-bulk-1", 7)


@pytest.fixture
async def part(database_url: str, clock: ManualClock) -> AsyncIterator[Database]:
    """Where jobs and batches live."""
    database = open_database(database_url, "outbox", clock)
    await database.open(clock)
    yield database
    await database.close(clock)


@pytest.fixture
def replays(part: Database, clock: ManualClock) -> Replays:
    """The subject."""
    return DatabaseReplays(part, clock)


async def waiting(part: Database, clock: ManualClock) -> tuple[int, int]:
    """Batches and events in the outbox."""
    counts = await DatabaseOutbox(part, clock).counts()
    return counts.waiting_batches, counts.waiting_events


async def test_a_job_is_kept_as_it_was_begun(replays: Replays) -> None:
    """For its webhook alone, the newest first."""
    await replays.begin(JOB)
    await replays.begin(replace(JOB, id="later", created_at_ms=11))
    await replays.begin(replace(JOB, id="other", webhook_id="x"))
    assert await replays.find("w", "job") == JOB
    assert await replays.find("x", "job") is None
    assert [each.id for each in await replays.of_webhook("w", count_max=10)] == ["later", "job"]
    assert [each.id for each in await replays.of_webhook("w", count_max=1)] == ["later"]


async def test_a_step_moves_batches_and_place_together(replays: Replays, part: Database, clock: ManualClock) -> None:
    """Into the outbox, counted in the webhook's lane; the last one ends the job."""
    await replays.begin(JOB)
    claimed = await replays.claim(claim_seconds=30)
    assert claimed is not None
    assert claimed.replay == JOB
    stride = Stride([batch("a", event_count=3), batch("b", event_count=2)], found=6, after=PLACE, is_last=False)
    moved = await replays.step(claimed, stride, pause_seconds=1.5)
    assert moved == replace(JOB, found=6, sent=5, batches=2, after=PLACE)
    assert await waiting(part, clock) == (2, 5)
    lanes = await DatabaseDeliveries(part, clock).lanes(["w"])
    assert (lanes["w"].waiting_batches, lanes["w"].waiting_events) == (2, 5)
    assert await replays.step(claimed, stride, pause_seconds=0) is None  # the claim was given back with the step
    assert await replays.claim(claim_seconds=30) is None
    clock.advance(1.5)
    again = await replays.claim(claim_seconds=30)
    assert again is not None
    assert again.replay == moved
    done = await replays.step(again, Stride((), 0, None, is_last=True), pause_seconds=0)
    assert done is not None
    assert (done.state, done.after, done.finished_at_ms) == ("done", PLACE, int(clock.now() * 1000))
    assert await replays.claim(claim_seconds=30) is None


async def test_one_holder_at_a_time(replays: Replays, part: Database, clock: ManualClock) -> None:
    """Whose claim lapsed and was taken by another writes nothing any more."""
    await replays.begin(JOB)
    first = await replays.claim(claim_seconds=30)
    assert first is not None
    assert await replays.claim(claim_seconds=30) is None
    clock.advance(31)
    second = await replays.claim(claim_seconds=30)
    assert second is not None
    stride = Stride([batch("a")], found=1, after=PLACE, is_last=False)
    assert await replays.step(first, stride, pause_seconds=0) is None
    assert await waiting(part, clock) == (0, 0)
    await replays.note(first, trouble="of yesterday")
    await replays.note(second, estimate=9, trouble="the store is away")
    await replays.note(second)
    assert await replays.step(second, stride, pause_seconds=0) is not None
    told = await replays.find("w", "job")
    assert told is not None
    assert (told.estimate, told.trouble) == (9, None)


async def test_what_was_cancelled_writes_no_more(replays: Replays, part: Database, clock: ManualClock) -> None:
    """Also by its holder; the batches before stay."""
    await replays.begin(JOB)
    claimed = await replays.claim(claim_seconds=30)
    assert claimed is not None
    assert await replays.step(claimed, Stride([batch("a")], 1, PLACE, is_last=False), pause_seconds=0)
    claimed = await replays.claim(claim_seconds=30)
    assert claimed is not None
    assert not await replays.cancel("x", "job")
    assert await replays.cancel("w", "job")
    assert not await replays.cancel("w", "job")
    assert await replays.step(claimed, Stride([batch("b")], 1, PLACE, is_last=False), pause_seconds=0) is None
    assert await waiting(part, clock) == (1, 1)
    told = await replays.find("w", "job")
    assert told is not None
    assert (told.state, told.finished_at_ms) == ("cancelled", int(clock.now() * 1000))


async def test_the_job_that_waited_longest_comes_next(replays: Replays, clock: ManualClock) -> None:
    """Not the one that just had its turn: a large job holds up no other."""
    for name in ("large", "small"):
        await replays.begin(replace(JOB, id=name))
    turns = []
    for _ in range(4):
        claimed = await replays.claim(claim_seconds=30)
        assert claimed is not None
        turns.append(claimed.replay.id)
        await replays.step(claimed, Stride((), 1, PLACE, is_last=False), pause_seconds=0.01)
        clock.advance(1)
    assert sorted(turns[:2]) == sorted(turns[2:]) == ["large", "small"]
