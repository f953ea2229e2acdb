"""The queue in memory: what it refuses beyond the contract, as AWS does, and the faults that a test may ask for."""

import random

import pytest

from omni_etl.backends.memory import AWS_LIMITS, Faults, MemoryQueue
from omni_etl.clock import ManualClock
from omni_etl.envelope import SealedEnvelope
from omni_etl.errors import UnavailableError
from omni_etl.queue import Lease

ONE = SealedEnvelope("{}", b"x")


async def receive(queue: MemoryQueue) -> list[Lease]:
    """What is ready now."""
    return await queue.receive("bulk", count_max=10, wait_seconds=0, lease_seconds=600)


async def test_a_lease_ends_twelve_hours_after_its_receive() -> None:
    """Asking for more than remains is an error of the entry, not trimmed (botocore, ChangeMessageVisibility)."""
    clock = ManualClock()
    queue = MemoryQueue(clock)
    await queue.send("bulk", [ONE])
    leases = await queue.receive("bulk", count_max=1, wait_seconds=0, lease_seconds=43_200)
    clock.advance(600)
    assert await queue.extend(leases, lease_seconds=42_600) == {}
    assert set(await queue.extend(leases, lease_seconds=42_601)) == {0}
    clock.advance(42_599)
    assert await receive(queue) == []
    clock.advance(2)
    assert len(await receive(queue)) == 1


async def test_what_is_in_flight_is_limited() -> None:
    """At the limit a receive brings nothing until something is settled or lapses."""
    clock = ManualClock()
    queue = MemoryQueue(clock, in_flight_max=3)
    await queue.send("bulk", [ONE] * 5)
    held = await receive(queue)
    assert len(held) == 3
    assert await receive(queue) == []
    await queue.delete(held[:1])
    assert len(await receive(queue)) == 1
    clock.advance(601)
    assert len(await receive(queue)) == 3


async def test_a_batch_is_a_mebibyte_at_most() -> None:
    """As at AWS, all entries together."""
    half = SealedEnvelope("{}", b"x" * (AWS_LIMITS.entry_bytes_max // 2))
    with pytest.raises(ValueError, match="bytes in one send"):
        await MemoryQueue(ManualClock()).send("bulk", [half, half])


async def test_an_absent_queue_does_nothing() -> None:
    """Every call fails, and a test may bring it back."""
    queue = MemoryQueue(ManualClock())
    await queue.send("bulk", [ONE])
    leases = await receive(queue)
    queue.faults.unavailable = True
    for call in (
        queue.open(["bulk"]),
        queue.send("bulk", [ONE]),
        receive(queue),
        queue.extend(leases, lease_seconds=1),
        queue.release(leases),
        queue.delete(leases),
        queue.depth("bulk"),
    ):
        with pytest.raises(UnavailableError):
            await call
    queue.faults.unavailable = False
    assert (await queue.depth("bulk")).leased == 1
    assert (await queue.depth("bulk")).ready == 0


async def test_a_duplicate_comes_after_its_twin_was_deleted() -> None:
    """As from an SQS server that was away during the delete."""
    queue = MemoryQueue(ManualClock(), faults=Faults(duplicate_share=1.0))
    await queue.send("bulk", [ONE])
    [first] = await queue.receive("bulk", count_max=1, wait_seconds=0, lease_seconds=600)
    await queue.delete([first])
    [second] = await receive(queue)
    assert (second.envelope, second.receive_count) == (first.envelope, 1)


async def test_an_answer_can_be_lost_after_the_work_was_done() -> None:
    """The envelope is kept though the send failed, and leased though nobody got it."""
    queue = MemoryQueue(ManualClock(), faults=Faults(answer_lost_share=1.0))
    with pytest.raises(UnavailableError, match="answer was lost"):
        await queue.send("bulk", [ONE])
    with pytest.raises(UnavailableError, match="answer was lost"):
        await receive(queue)
    assert (await queue.depth("bulk")).leased == 1


async def test_entries_fail_alone_and_by_the_seed() -> None:
    """A failed entry was not done; the same seed fails the same ones."""

    async def failed() -> set[int]:
        queue = MemoryQueue(ManualClock(), faults=Faults(rng=random.Random(3), entry_failure_share=0.5))
        failures = await queue.send("bulk", [ONE] * 10)
        assert (await queue.depth("bulk")).ready == 10 - len(failures)
        return set(failures)

    assert await failed() == await failed()
    assert 0 < len(await failed()) < 10
