"""The outbox's contract: a batch keeps its id and bytes, and one claim at a time decides about it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.builders import envelope, line

from omni_etl.backends.database import DatabaseOutbox, open_database
from omni_etl.clock import ManualClock
from omni_etl.envelope import Envelope
from omni_etl.errors import IdConflictError
from omni_etl.outbox import Batch, DueBatch, Outbox, OutboxCounts


@pytest.fixture
async def outbox(database_url: str, clock: ManualClock) -> AsyncIterator[Outbox]:
    """An empty, open outbox."""
    subject = DatabaseOutbox(open_database(database_url, "outbox", clock), clock)
    await subject.open()
    yield subject
    await subject.close()


def numbered(seq: int, type_name: str = "delivery") -> Envelope:
    """Some envelope under this number."""
    return envelope([line(type_name)], seq=seq)


def batch(number: int) -> Batch:
    """A batch that tells itself from others."""
    return Batch(f"batch-{number}", "w", "https://x.test/", {"X-One": "1"}, b'[{"n":%d}]' % number, event_count=10)


async def claim(outbox: Outbox, *, count_max: int = 100) -> list[DueBatch]:
    """What is due now."""
    return await outbox.claim(count_max=count_max, claim_seconds=30)


async def test_a_batch_comes_out_as_it_was_put(outbox: Outbox, clock: ManualClock) -> None:
    """Id, bytes, target and headers, before any attempt."""
    assert await outbox.put(numbered(1), [batch(1), batch(2)])
    due = await claim(outbox)
    assert sorted((each.batch for each in due), key=lambda each: each.id) == [batch(1), batch(2)]
    assert {(each.attempts, each.cut_at_ms) for each in due} == {(0, int(clock.now() * 1000))}


async def test_an_envelope_is_put_once(outbox: Outbox) -> None:
    """Worked on again it is known, whatever batches it would make now, or if it made none the first time."""
    assert await outbox.put(numbered(1), [batch(1)])
    assert not await outbox.put(numbered(1), [batch(2)])
    assert await outbox.put(numbered(2), [])
    assert not await outbox.put(numbered(2), [batch(3)])
    assert [each.batch.id for each in await claim(outbox)] == ["batch-1"]


async def test_the_same_key_with_another_checksum_is_a_conflict(outbox: Outbox) -> None:
    """And nothing of it is kept."""
    await outbox.put(numbered(1), [batch(1)])
    with pytest.raises(IdConflictError):
        await outbox.put(numbered(1, "open"), [batch(2)])
    assert (await outbox.counts()).waiting_batches == 1


async def test_a_claimed_batch_is_with_nobody_else(outbox: Outbox, clock: ManualClock) -> None:
    """Until the claim lapses; then it comes again, with the same id and bytes."""
    await outbox.put(numbered(1), [batch(1)])
    [first] = await claim(outbox)
    assert await claim(outbox) == []
    clock.advance(31)
    [second] = await claim(outbox)
    assert second.batch == first.batch
    assert second.claim != first.claim


async def test_a_batch_may_be_claimed_as_it_is_put(outbox: Outbox, clock: ManualClock) -> None:
    """It is with nobody else; the claim decides like any other."""
    one, two = await outbox.put_claimed(numbered(1), [batch(1), batch(2)], claim_seconds=30)
    assert [each.batch for each in (one, two)] == [batch(1), batch(2)]
    assert await claim(outbox) == []
    assert await outbox.counts() == OutboxCounts(2, 20, 0, 0, 0, 0)
    assert await outbox.delivered(one, 200)
    assert await outbox.failed(two, "503", retry_in_seconds=60)
    clock.advance(61)
    [again] = await claim(outbox)
    assert (again.batch, again.attempts, again.cut_at_ms) == (batch(2), 1, two.cut_at_ms)


async def test_a_batch_claimed_as_it_was_put_comes_again(outbox: Outbox, clock: ManualClock) -> None:
    """Its process died: the claim lapses, and the next one gets the same id and bytes from the outbox."""
    [lost] = await outbox.put_claimed(numbered(1), [batch(1)], claim_seconds=30)
    clock.advance(29)
    assert await claim(outbox) == []
    clock.advance(2)
    [found] = await claim(outbox)
    assert found.batch == lost.batch
    assert found.claim != lost.claim
    assert not await outbox.delivered(lost, 200)


async def test_an_envelope_is_put_once_whichever_way(outbox: Outbox) -> None:
    """Known, nothing is written and nothing claimed; another checksum is a conflict."""
    assert await outbox.put(numbered(1), [batch(1)])
    assert await outbox.put_claimed(numbered(1), [batch(1)], claim_seconds=30) == []
    assert await outbox.put_claimed(numbered(2), [batch(2)], claim_seconds=30)
    assert not await outbox.put(numbered(2), [batch(2)])
    with pytest.raises(IdConflictError):
        await outbox.put_claimed(numbered(1, "open"), [batch(3)], claim_seconds=30)
    assert [each.batch.id for each in await claim(outbox)] == ["batch-1"]


async def test_batches_of_a_paused_webhook_do_not_wait_for_ever(outbox: Outbox, clock: ManualClock) -> None:
    """After two weeks they are given up, and counted so; those of others wait on, whatever holds them up."""
    others = replace(batch(2), webhook_id="other")
    await outbox.put(numbered(1), [batch(1), others])
    for days, given_up in ((13, 0), (2, 10)):
        clock.advance(days * 86_400)
        assert await outbox.claim(count_max=0, claim_seconds=30, paused=["w"]) == []
        counts = await outbox.counts()
        assert (counts.given_up_events, counts.waiting_events) == (given_up, 20 - given_up)
    assert [each.batch.id for each in await claim(outbox)] == [others.id]


async def test_what_is_given_back_is_due_at_once(outbox: Outbox, clock: ManualClock) -> None:
    """At its old place, its attempts uncounted; a claim that no longer holds gives nothing back."""
    late, mine = await outbox.put_claimed(numbered(1), [batch(1), batch(2)], claim_seconds=30)
    assert await outbox.delivered(mine, 200)
    await outbox.release([late, mine])
    [held] = await claim(outbox)
    assert (held.batch, held.attempts, held.cut_at_ms) == (batch(1), 0, late.cut_at_ms)
    await outbox.release([late])
    assert await claim(outbox) == []
    await outbox.release([])
    assert await outbox.delivered(held, 200)


async def test_the_batches_of_paused_webhooks_stay(outbox: Outbox) -> None:
    """They are in nobody's way, and come as soon as nobody says they are paused."""
    await outbox.put(numbered(1), [batch(1)])
    assert await outbox.claim(count_max=100, claim_seconds=30, paused={"v", "w"}) == []
    assert [each.batch.id for each in await outbox.claim(count_max=100, claim_seconds=30, paused={"v"})] == ["batch-1"]


async def test_the_oldest_come_first(outbox: Outbox, clock: ManualClock) -> None:
    """And no more than asked for."""
    for number in range(4):
        await outbox.put(numbered(number), [batch(number)])
        clock.advance(1)
    assert [each.batch.id for each in await claim(outbox, count_max=3)] == ["batch-0", "batch-1", "batch-2"]
    assert [each.batch.id for each in await claim(outbox)] == ["batch-3"]


async def test_a_delivered_batch_is_counted_and_gone(outbox: Outbox, clock: ManualClock) -> None:
    """It never comes again, and a second word about it is not heard."""
    await outbox.put(numbered(1), [batch(1)])
    [due] = await claim(outbox)
    assert await outbox.delivered(due, 200)
    assert not await outbox.delivered(due, 200)
    assert not await outbox.failed(due, "500", retry_in_seconds=None)
    clock.advance(3600)
    assert await claim(outbox) == []
    assert await outbox.counts() == OutboxCounts(0, 0, 1, 10, 0, 0)


async def test_a_failed_batch_waits_for_its_next_attempt(outbox: Outbox, clock: ManualClock) -> None:
    """With its attempts counted; it is due then, not before, and not when the old claim would have ended."""
    await outbox.put(numbered(1), [batch(1)])
    [due] = await claim(outbox)
    assert await outbox.failed(due, "503", retry_in_seconds=60)
    clock.advance(59)
    assert await claim(outbox) == []
    clock.advance(2)
    [again] = await claim(outbox)
    assert (again.batch, again.attempts) == (batch(1), 1)
    assert await outbox.counts() == OutboxCounts(1, 10, 0, 0, 0, 0)


async def test_a_batch_given_up_is_counted_and_comes_no_more(outbox: Outbox, clock: ManualClock) -> None:
    """It ended, though not well."""
    await outbox.put(numbered(1), [batch(1)])
    [due] = await claim(outbox)
    assert await outbox.failed(due, "410", retry_in_seconds=None)
    clock.advance(86_400)
    assert await claim(outbox) == []
    assert await outbox.counts() == OutboxCounts(0, 0, 0, 0, 1, 10)


async def test_a_claim_that_another_holds_decides_nothing(outbox: Outbox, clock: ManualClock) -> None:
    """Who came too late is told so, and the batch is still the other's."""
    await outbox.put(numbered(1), [batch(1)])
    [late] = await claim(outbox)
    clock.advance(31)
    [held] = await claim(outbox)
    assert not await outbox.delivered(late, 200)
    assert not await outbox.failed(late, "timeout", retry_in_seconds=0)
    assert await claim(outbox) == []
    assert await outbox.delivered(held, 200)
    assert (await outbox.counts()).delivered_batches == 1


async def test_a_lapsed_claim_that_nobody_took_still_decides(outbox: Outbox, clock: ManualClock) -> None:
    """The customer has the batch; sending it again would be the worse answer."""
    await outbox.put(numbered(1), [batch(1)])
    [due] = await claim(outbox)
    clock.advance(31)
    assert await outbox.delivered(due, 200)
    assert await claim(outbox) == []


async def test_many_verdicts_at_once_are_each_heard(outbox: Outbox) -> None:
    """Delivered, failed and given up, mixed; every batch is counted once."""
    await outbox.put(numbered(1), [batch(number) for number in range(300)])
    due = await claim(outbox, count_max=300)
    heard = await asyncio.gather(
        *(outbox.delivered(each, 200 + position % 3) for position, each in enumerate(due[:150])),
        *(outbox.failed(each, "500", retry_in_seconds=60) for each in due[150:200]),
        *(outbox.failed(each, "500", retry_in_seconds=None) for each in due[200:]),
    )
    assert all(heard)
    assert await outbox.counts() == OutboxCounts(50, 500, 150, 1_500, 100, 1_000)
