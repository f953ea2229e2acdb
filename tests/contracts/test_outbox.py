"""The outbox's contract: a batch keeps its id and bytes, and one claim at a time decides about it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.builders import envelope, line
from tests.outboxes import TARGET, claim, delivered, given_up, ids, retry, split

from omni_etl.backends.database import DatabaseOutbox, open_database
from omni_etl.clock import ManualClock
from omni_etl.envelope import Envelope
from omni_etl.errors import IdConflictError
from omni_etl.outbox import Batch, Cut, DueBatch, Outbox, OutboxCounts, Wanted


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


def batch(number: int, webhook_id: str = "w", *, event_count: int = 10, parent_id: str | None = None) -> Batch:
    """A batch that tells itself from others."""
    body = b'[{"n":%d}]' % number
    return Batch(f"batch-{number}", webhook_id, TARGET, {"X-One": "1"}, body, event_count, parent_id)


async def put(outbox: Outbox, seq: int, *batches: Batch) -> bool:
    """Whether the ledger did not know it."""
    return await outbox.put(numbered(seq), Cut(batches)) is not None


async def put_claimed(outbox: Outbox, seq: int, *batches: Batch) -> list[DueBatch]:
    """Eagerly."""
    due = await outbox.put(numbered(seq), Cut(batches), eager={"w"}, claim_seconds=30)
    return due or []


async def test_a_batch_comes_out_as_it_was_put(outbox: Outbox, clock: ManualClock) -> None:
    """Id, bytes, target, headers and parent, before any attempt."""
    batches = [batch(1), batch(2, parent_id="batch-0")]
    assert await put(outbox, 1, *batches)
    due = await claim(outbox)
    assert sorted((each.batch for each in due), key=lambda each: each.id) == batches
    assert {(each.attempts, each.cut_at_ms, each.is_probe) for each in due} == {(0, int(clock.now() * 1000), False)}


async def test_an_envelope_is_put_once(outbox: Outbox) -> None:
    """Worked on again it is known, whatever batches it would make now, or if it made none the first time."""
    assert await put(outbox, 1, batch(1))
    assert not await put(outbox, 1, batch(2))
    assert await put(outbox, 2)
    assert not await put(outbox, 2, batch(3))
    assert ids(await claim(outbox)) == ["batch-1"]


async def test_the_same_key_with_another_checksum_is_a_conflict(outbox: Outbox) -> None:
    """And nothing of it is kept."""
    await put(outbox, 1, batch(1))
    with pytest.raises(IdConflictError):
        await outbox.put(numbered(1, "open"), Cut([batch(2)]))
    assert (await outbox.counts()).waiting_batches == 1


async def test_a_claimed_batch_is_with_nobody_else(outbox: Outbox, clock: ManualClock) -> None:
    """Until the claim lapses; then it comes again, with the same id and bytes."""
    await put(outbox, 1, batch(1))
    [first] = await claim(outbox)
    assert await claim(outbox) == []
    clock.advance(31)
    [second] = await claim(outbox)
    assert second.batch == first.batch
    assert second.claim != first.claim


async def test_a_batch_may_be_claimed_as_it_is_put(outbox: Outbox, clock: ManualClock) -> None:
    """It is with nobody else; the claim decides like any other."""
    one, two = await put_claimed(outbox, 1, batch(1), batch(2))
    assert [each.batch for each in (one, two)] == [batch(1), batch(2)]
    assert await claim(outbox) == []
    assert await outbox.counts() == OutboxCounts(2, 20, 0, 0, 0, 0)
    assert await outbox.settle(one, delivered())
    assert await outbox.settle(two, retry(60))
    clock.advance(61)
    [again] = await claim(outbox)
    assert (again.batch, again.attempts, again.cut_at_ms) == (batch(2), 1, two.cut_at_ms)


async def test_only_batches_of_eager_webhooks_are_claimed_as_they_are_put(outbox: Outbox) -> None:
    """The others wait for whoever has time."""
    batches = [batch(1), batch(2, "v"), batch(3)]
    due = await outbox.put(numbered(1), Cut(batches), eager={"w", "u"}, claim_seconds=30)
    assert ids(due or []) == ["batch-1", "batch-3"]
    assert ids(await claim(outbox, "v", "w")) == ["batch-2"]


async def test_a_batch_claimed_as_it_was_put_comes_again(outbox: Outbox, clock: ManualClock) -> None:
    """Its process died: the claim lapses, and the next one gets the same id and bytes from the outbox."""
    [lost] = await put_claimed(outbox, 1, batch(1))
    clock.advance(29)
    assert await claim(outbox) == []
    clock.advance(2)
    [found] = await claim(outbox)
    assert found.batch == lost.batch
    assert found.claim != lost.claim
    assert not await outbox.settle(lost, delivered())


async def test_an_envelope_is_put_once_whichever_way(outbox: Outbox) -> None:
    """Known, nothing is written and nothing claimed; another checksum is a conflict."""
    assert await put(outbox, 1, batch(1))
    assert await put_claimed(outbox, 1, batch(1)) == []
    assert await put_claimed(outbox, 2, batch(2))
    assert not await put(outbox, 2, batch(2))
    with pytest.raises(IdConflictError):
        await outbox.put(numbered(1, "open"), Cut([batch(3)]), eager={"w"}, claim_seconds=30)
    assert ids(await claim(outbox)) == ["batch-1"]


async def test_what_is_given_back_is_due_at_once(outbox: Outbox, clock: ManualClock) -> None:
    """At its old place, its attempts uncounted; a claim that no longer holds gives nothing back."""
    late, mine = await put_claimed(outbox, 1, batch(1), batch(2))
    assert await outbox.settle(mine, delivered())
    clock.advance(1)
    await put(outbox, 2, batch(3))
    await outbox.release([late, mine])
    [held] = await claim(outbox, count_max=1)
    assert (held.batch, held.attempts, held.cut_at_ms) == (batch(1), 0, late.cut_at_ms)
    await outbox.release([late])
    assert ids(await claim(outbox)) == ["batch-3"]
    await outbox.release([])
    assert await outbox.settle(held, delivered())


async def test_a_webhook_for_which_nothing_is_wanted_keeps_its_batches(outbox: Outbox) -> None:
    """They are in nobody's way, and come as soon as somebody asks; only as many of each kind as are asked for."""
    await put(outbox, 1, batch(1), batch(2, "v"))
    assert await outbox.claim({}, claim_seconds=30) == []
    assert await outbox.claim({"w": Wanted(), "v": Wanted(retries=9), "u": Wanted(fresh=9)}, claim_seconds=30) == []
    assert ids(await outbox.claim({"w": Wanted(fresh=9)}, claim_seconds=30)) == ["batch-1"]


async def test_fresh_ones_and_repeated_ones_are_wanted_apart(outbox: Outbox, clock: ManualClock) -> None:
    """A customer who fails has many of these, and the others need not wait behind them."""
    for due in await put_claimed(outbox, 1, batch(1), batch(2)):
        await outbox.settle(due, retry(1))
    await put(outbox, 2, batch(3), batch(4))
    clock.advance(2)
    assert len(await outbox.claim({"w": Wanted(fresh=1)}, claim_seconds=30)) == 1
    assert sorted(ids(await outbox.claim({"w": Wanted(retries=9)}, claim_seconds=30))) == ["batch-1", "batch-2"]
    assert len(await claim(outbox)) == 1


async def test_the_oldest_come_first(outbox: Outbox, clock: ManualClock) -> None:
    """And no more than asked for."""
    for number in range(4):
        await put(outbox, number, batch(number))
        clock.advance(1)
    assert ids(await claim(outbox, count_max=3)) == ["batch-0", "batch-1", "batch-2"]
    assert ids(await claim(outbox)) == ["batch-3"]


async def test_a_probe_is_the_smallest_of_what_is_due(outbox: Outbox, clock: ManualClock) -> None:
    """One, whichever kind; failed, it has used up no attempt and waits as the verdict says."""
    [again] = await put_claimed(outbox, 1, batch(1, event_count=7))
    await outbox.settle(again, retry(1))
    [later] = await put_claimed(outbox, 2, batch(2, event_count=1))
    await outbox.settle(later, retry(3_600))
    await put(outbox, 3, batch(3, event_count=9), batch(4, event_count=8))
    clock.advance(2)
    for seconds in (60, 0):
        [probe] = await outbox.claim({"w": Wanted(is_probe=True)}, claim_seconds=30)
        assert (probe.batch, probe.attempts, probe.is_probe) == (batch(1, event_count=7), 1, True)
        assert await outbox.settle(probe, retry(seconds))
        clock.advance(seconds)
    [fresh] = await outbox.claim({"w": Wanted(fresh=1)}, claim_seconds=30)
    assert fresh.batch.id in {"batch-3", "batch-4"}
    assert not fresh.is_probe
    [tried] = await outbox.claim({"w": Wanted(retries=9)}, claim_seconds=30)
    assert (tried.batch.id, tried.attempts, tried.is_probe) == ("batch-1", 1, False)
    [probe] = await outbox.claim({"w": Wanted(is_probe=True)}, claim_seconds=30)
    assert await outbox.settle(probe, given_up())
    assert (await outbox.counts()).given_up_batches == 1


async def test_a_delivered_batch_is_counted_and_gone(outbox: Outbox, clock: ManualClock) -> None:
    """It never comes again, and a second word about it is not heard."""
    await put(outbox, 1, batch(1))
    [due] = await claim(outbox)
    assert await outbox.settle(due, delivered())
    assert not await outbox.settle(due, delivered())
    assert not await outbox.settle(due, given_up("500"))
    clock.advance(3600)
    assert await claim(outbox) == []
    assert await outbox.counts() == OutboxCounts(0, 0, 1, 10, 0, 0)


async def test_a_failed_batch_waits_for_its_next_attempt(outbox: Outbox, clock: ManualClock) -> None:
    """With its attempts counted; it is due then, not before, and not when the old claim would have ended."""
    await put(outbox, 1, batch(1))
    [due] = await claim(outbox)
    assert await outbox.settle(due, retry(60))
    clock.advance(59)
    assert await claim(outbox) == []
    clock.advance(2)
    [again] = await claim(outbox)
    assert (again.batch, again.attempts) == (batch(1), 1)
    assert await outbox.counts() == OutboxCounts(1, 10, 0, 0, 0, 0)


async def test_a_batch_given_up_is_counted_and_comes_no_more(outbox: Outbox, clock: ManualClock) -> None:
    """It ended, though not well."""
    await put(outbox, 1, batch(1))
    [due] = await claim(outbox)
    assert await outbox.settle(due, given_up())
    clock.advance(86_400)
    assert await claim(outbox) == []
    assert await outbox.counts() == OutboxCounts(0, 0, 0, 0, 1, 10)


async def test_a_split_batch_is_replaced_by_its_halves(outbox: Outbox, clock: ManualClock) -> None:
    """In one step, due at once, as old as it was, with all attempts before them; a late claim splits nothing."""
    [late] = await put_claimed(outbox, 1, batch(1, event_count=3))
    clock.advance(31)
    [due] = await claim(outbox)
    halves = [batch(2, event_count=1, parent_id="batch-1"), batch(3, event_count=2, parent_id="batch-1")]
    assert not await outbox.settle(late, split(batch(4), batch(5)))
    assert await outbox.settle(due, split(*halves))
    assert not await outbox.settle(due, split(batch(4), batch(5)))
    assert await outbox.counts() == OutboxCounts(2, 3, 0, 0, 0, 0)
    found = sorted(await outbox.claim({"w": Wanted(fresh=9)}, claim_seconds=30), key=lambda each: each.batch.id)
    assert [each.batch for each in found] == halves
    assert {(each.attempts, each.cut_at_ms) for each in found} == {(0, late.cut_at_ms)}


async def test_a_claim_that_another_holds_decides_nothing(outbox: Outbox, clock: ManualClock) -> None:
    """Who came too late is told so, and the batch is still the other's."""
    await put(outbox, 1, batch(1))
    [late] = await claim(outbox)
    clock.advance(31)
    [held] = await claim(outbox)
    assert not await outbox.settle(late, delivered())
    assert not await outbox.settle(late, retry(0, "timeout"))
    assert await claim(outbox) == []
    assert await outbox.settle(held, delivered())
    assert (await outbox.counts()).delivered_batches == 1


async def test_a_lapsed_claim_that_nobody_took_still_decides(outbox: Outbox, clock: ManualClock) -> None:
    """The customer has the batch; sending it again would be the worse answer."""
    await put(outbox, 1, batch(1))
    [due] = await claim(outbox)
    clock.advance(31)
    assert await outbox.settle(due, delivered())
    assert await claim(outbox) == []


async def test_many_verdicts_at_once_are_each_heard(outbox: Outbox) -> None:
    """Delivered, failed, given up and split, mixed; every batch is counted once."""
    await put(outbox, 1, *(batch(number) for number in range(300)))
    due = await claim(outbox)
    verdicts = [
        *(delivered(str(200 + position % 3)) for position in range(150)),
        *(retry(60, "500") for _ in range(50)),
        *(given_up("500") for _ in range(90)),
        *(split(batch(1_000 + at, event_count=4), batch(2_000 + at, event_count=6)) for at in range(10)),
    ]
    heard = await asyncio.gather(*(outbox.settle(each, verdict) for each, verdict in zip(due, verdicts, strict=True)))
    assert all(heard)
    assert await outbox.counts() == OutboxCounts(70, 600, 150, 1_500, 90, 900)
