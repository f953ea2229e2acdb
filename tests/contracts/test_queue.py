"""The queue's contract, on every backend: at least once, one lease at a time, limits that SQS has."""

import asyncio

import pytest

from omni_etl.clock import ManualClock
from omni_etl.envelope import SealedEnvelope
from omni_etl.queue import (
    DEAD_RETENTION_SECONDS,
    LANE_RETENTION_SECONDS,
    Depth,
    Lease,
    Queue,
    batches,
    dead_letters,
    entry_bytes,
    queue_names,
)

DEAD = dead_letters("metrics")


def sealed(number: int) -> SealedEnvelope:
    """An envelope that tells itself from others."""
    return SealedEnvelope(f'{{"number":{number}}}', b"\x00\xff payload %d" % number)


async def send(queue: Queue, count: int, name: str = "bulk") -> list[SealedEnvelope]:
    """Send so many."""
    envelopes = [sealed(number) for number in range(count)]
    for batch in batches(envelopes, queue.limits.batch_count_max):
        assert await queue.send(name, batch) == {}
    return envelopes


async def receive(queue: Queue, name: str = "bulk", *, lease_seconds: int = 30) -> list[Lease]:
    """What is ready now."""
    return await queue.receive(name, count_max=10, wait_seconds=0, lease_seconds=lease_seconds)


async def test_what_is_sent_arrives_whole(queue: Queue, clock: ManualClock) -> None:
    """Header, payload byte for byte, the time of the send, and the first of the receives."""
    envelopes = await send(queue, 3)
    leases = await receive(queue)
    assert sorted(each.envelope.header for each in leases) == [each.header for each in envelopes]
    assert {each.envelope.payload for each in leases} == {each.payload for each in envelopes}
    assert {(each.queue_name, each.receive_count, each.sent_at) for each in leases} == {("bulk", 1, clock.now())}
    assert len({each.receipt for each in leases}) == 3


async def test_a_leased_envelope_is_with_nobody_else_until_its_deadline(queue: Queue, clock: ManualClock) -> None:
    """Then it is ready again, under a new receipt and with one receive more."""
    await send(queue, 1)
    [first] = await receive(queue, lease_seconds=30)
    clock.advance(29.5)
    assert await receive(queue) == []
    clock.advance(1)
    [second] = await receive(queue)
    assert second.receive_count == 2
    assert second.receipt != first.receipt
    assert second.sent_at == first.sent_at


async def test_a_deleted_envelope_never_comes_again(queue: Queue, clock: ManualClock) -> None:
    """Neither when its lease would have ended, nor after a second delete, which is harmless."""
    await send(queue, 2)
    leases = await receive(queue)
    assert await queue.delete(leases) == {}
    assert await queue.delete(leases) == {}
    clock.advance(3600)
    assert await receive(queue) == []
    assert await queue.depth("bulk") == Depth(0, 0, 0.0)


async def test_a_foreign_receipt_changes_nothing(queue: Queue, clock: ManualClock) -> None:
    """Who lost a lease to another cannot extend, release or delete it any more, and is not told."""
    await send(queue, 1)
    [lost] = await receive(queue, lease_seconds=10)
    clock.advance(11)
    [held] = await receive(queue, lease_seconds=10)
    assert await queue.extend([lost], lease_seconds=1000) == {}
    assert await queue.release([lost]) == {}
    assert await queue.delete([lost]) == {}
    assert await receive(queue) == []
    clock.advance(11)
    [again] = await receive(queue)
    assert (again.receive_count, again.envelope) == (held.receive_count + 1, held.envelope)


async def test_extending_moves_the_deadline_from_now_on(queue: Queue, clock: ManualClock) -> None:
    """The new time counts from the call, not from the old deadline."""
    await send(queue, 1)
    leases = await receive(queue, lease_seconds=30)
    clock.advance(20)
    assert await queue.extend(leases, lease_seconds=30) == {}
    clock.advance(29)
    assert await receive(queue) == []
    clock.advance(2)
    assert len(await receive(queue)) == 1


async def test_extending_a_lapsed_lease_answers_ok_and_does_nothing(queue: Queue, clock: ManualClock) -> None:
    """An OK proves nothing about a lease that had lapsed: the envelope stays ready for others."""
    await send(queue, 1)
    leases = await receive(queue, lease_seconds=10)
    clock.advance(11)
    assert await queue.extend(leases, lease_seconds=1000) == {}
    assert len(await receive(queue)) == 1


async def test_a_lapsed_lease_that_nobody_took_can_still_be_deleted(queue: Queue, clock: ManualClock) -> None:
    """Only confirmed done deletes, so doing it all again would be for nothing."""
    await send(queue, 1)
    leases = await receive(queue, lease_seconds=10)
    clock.advance(11)
    assert await queue.delete(leases) == {}
    assert await receive(queue) == []


async def test_a_released_envelope_is_ready_after_its_delay(queue: Queue, clock: ManualClock) -> None:
    """At once without one; receives count on."""
    await send(queue, 1)
    assert await queue.release(await receive(queue)) == {}
    [second] = await receive(queue)
    assert second.receive_count == 2
    await queue.release([second], delay_seconds=60)
    clock.advance(59)
    assert await receive(queue) == []
    clock.advance(2)
    [third] = await receive(queue)
    assert third.receive_count == 3


async def test_a_late_heartbeat_does_not_undo_a_release(queue: Queue, clock: ManualClock) -> None:
    """A release ends its receipt (novuhq/novu#12437: a tick after the back-off took the back-off away)."""
    await send(queue, 1)
    leases = await receive(queue)
    await queue.release(leases, delay_seconds=5)
    assert await queue.extend(leases, lease_seconds=1000) == {}
    clock.advance(6)
    assert len(await receive(queue)) == 1


async def test_queues_do_not_mix(queue: Queue) -> None:
    """A siding holds only what was sent there."""
    await send(queue, 1, "express")
    assert await receive(queue, "bulk") == []
    assert len(await receive(queue, "express")) == 1


async def test_an_entry_that_no_queue_carries_is_refused_alone(queue: Queue) -> None:
    """Oversize, forbidden characters (botocore, SendMessage) and emptiness; the rest of the batch is kept."""
    size_max = queue.limits.entry_bytes_max
    good = sealed(1)
    oversize = SealedEnvelope("{}", b"x" * size_max)
    forbidden = [SealedEnvelope(f"{{{character}}}", b"x") for character in ("\x00", "\x0b", "\ud800", "\ufffe")]
    failures = await queue.send(
        "bulk", [oversize, good, SealedEnvelope("", b"x"), SealedEnvelope("{}", b""), *forbidden]
    )
    assert set(failures) == {0, 2, 3, 4, 5, 6, 7}
    assert str(size_max) in failures[0]
    assert "U+000B" in failures[5]
    assert [each.envelope for each in await receive(queue)] == [good]


async def test_the_largest_entry_passes(queue: Queue) -> None:
    """The limit itself is allowed, every byte of it."""
    rest = queue.limits.entry_bytes_max - entry_bytes(SealedEnvelope("{}", b""))
    largest = SealedEnvelope("{}", b"x" * rest)
    assert await queue.send("bulk", [largest]) == {}
    assert [each.envelope for each in await receive(queue)] == [largest]


async def test_a_call_beyond_its_limits_is_a_fault_of_the_caller(queue: Queue) -> None:
    """SQS refuses such a call as a whole, so it is raised and nothing of it is done."""
    limits = queue.limits
    with pytest.raises(ValueError, match="entries in one call"):
        await queue.send("bulk", [sealed(0)] * (limits.batch_count_max + 1))
    heavy = SealedEnvelope("{}", b"x" * (limits.entry_bytes_max - 100))
    with pytest.raises(ValueError, match="bytes in one send"):
        await queue.send("bulk", [heavy] * (limits.batch_bytes_max // entry_bytes(heavy) + 1))
    assert await receive(queue) == []
    await send(queue, 1)
    leases = await receive(queue)
    for refused in (queue.delete, queue.release):
        with pytest.raises(ValueError, match="entries in one call"):
            await refused(leases * (limits.batch_count_max + 1))
    with pytest.raises(ValueError, match="a lease of"):
        await queue.extend(leases, lease_seconds=limits.lease_seconds_max + 1)
    with pytest.raises(ValueError, match="a lease of"):
        await receive(queue, lease_seconds=limits.lease_seconds_max + 1)


async def test_nothing_to_do_is_done(queue: Queue) -> None:
    """Empty calls answer without failures."""
    assert await queue.send("bulk", []) == {}
    assert await queue.extend([], lease_seconds=30) == {}
    assert await queue.release([]) == {}
    assert await queue.delete([]) == {}


async def test_a_receive_brings_no_more_than_was_asked_for(queue: Queue) -> None:
    """Nor more than the queue's own limit."""
    await send(queue, 25)
    assert len(await queue.receive("bulk", count_max=3, wait_seconds=0, lease_seconds=30)) == 3
    limit = queue.limits.receive_count_max
    assert len(await queue.receive("bulk", count_max=100, wait_seconds=0, lease_seconds=30)) == limit


async def test_a_waiting_receive_wakes_when_something_is_sent(queue: Queue, clock: ManualClock) -> None:
    """Without any time passing."""
    waiting = await start_waiting(queue, clock)
    await send(queue, 1)
    assert len(await asyncio.wait_for(waiting, 10)) == 1


async def test_a_waiting_receive_wakes_when_something_is_released(queue: Queue, clock: ManualClock) -> None:
    """What one parent gives back another gets at once."""
    await send(queue, 1)
    leases = await receive(queue)
    waiting = await start_waiting(queue, clock)
    await queue.release(leases)
    assert len(await asyncio.wait_for(waiting, 10)) == 1


async def start_waiting(queue: Queue, clock: ManualClock) -> asyncio.Task[list[Lease]]:
    """A receiver that has looked, found nothing and sleeps."""
    waiting = asyncio.create_task(queue.receive("bulk", count_max=10, wait_seconds=20, lease_seconds=30))
    while not clock._sleepers:
        await asyncio.sleep(0)
    return waiting


async def test_a_waiting_receive_wakes_when_a_lease_lapses(queue: Queue, clock: ManualClock) -> None:
    """Time makes envelopes ready, too."""
    await send(queue, 1)
    await receive(queue, lease_seconds=5)
    waiting = asyncio.create_task(queue.receive("bulk", count_max=10, wait_seconds=20, lease_seconds=30))
    assert len(await while_time_passes(waiting, clock)) == 1
    assert clock.monotonic() == pytest.approx(5, abs=1)


async def test_a_waiting_receive_ends_with_nothing(queue: Queue, clock: ManualClock) -> None:
    """After `wait_seconds`, and not before."""
    waiting = asyncio.create_task(queue.receive("bulk", count_max=10, wait_seconds=20, lease_seconds=30))
    assert await while_time_passes(waiting, clock) == []
    assert clock.monotonic() == pytest.approx(20, abs=1)


async def while_time_passes(waiting: asyncio.Task[list[Lease]], clock: ManualClock) -> list[Lease]:
    """Advance whenever the receiver sleeps, until it is back."""
    while not waiting.done():
        if clock._sleepers:
            clock.advance(0.5)
        await asyncio.sleep(0)
    return await waiting


async def test_receivers_at_the_same_time_share_nothing(queue: Queue) -> None:
    """Every envelope is with exactly one of them."""
    envelopes = await send(queue, 100)
    taken = await asyncio.gather(*(receive(queue) for _ in range(12)))
    headers = [lease.envelope.header for leases in taken for lease in leases]
    assert sorted(headers) == sorted(each.header for each in envelopes)


async def test_depth_tells_ready_leased_and_oldest(queue: Queue, clock: ManualClock) -> None:
    """Age counts from the send, also of what was received meanwhile."""
    await send(queue, 1)
    clock.advance(10)
    await send(queue, 2)
    await queue.receive("bulk", count_max=1, wait_seconds=0, lease_seconds=30)
    assert await queue.depth("bulk") == Depth(ready=2, leased=1, oldest_age_seconds=10.0)
    assert await queue.depth("express") == Depth(ready=0, leased=0, oldest_age_seconds=0.0)


@pytest.mark.parametrize(("name", "kept_seconds"), [("bulk", LANE_RETENTION_SECONDS), (DEAD, DEAD_RETENTION_SECONDS)])
async def test_what_nobody_deletes_goes_in_the_end(
    queue: Queue, clock: ManualClock, name: str, kept_seconds: int
) -> None:
    """Lanes and sidings keep a week, dead letters two, from the send on."""
    await send(queue, 1, name)
    clock.advance(kept_seconds - 120)
    await queue.release(await receive(queue, name))
    assert len(await receive(queue, name)) == 1
    clock.advance(180)
    assert await receive(queue, name) == []
    assert (await queue.depth(name)).ready == 0


async def test_opening_again_is_harmless(queue: Queue) -> None:
    """What was sent stays."""
    await send(queue, 1)
    await queue.open(queue_names(["metrics", "webhooks"]))
    assert len(await receive(queue)) == 1
