"""renew: keep the leases we hold."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace

import pytest
from tests.supervisor.leases import LEASE_SECONDS, pass_seconds, received

from omni_etl.backends.memory import AWS_LIMITS, MemoryQueue
from omni_etl.clock import ManualClock
from omni_etl.queue import Failures, Lease
from omni_etl.supervisor.held import Held
from omni_etl.supervisor.renew import Renewer


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock()


def renewer(queue: MemoryQueue, clock: ManualClock, held: Collection[Held], lapsed: list[Held]) -> Renewer:
    """One that notes what lapsed."""
    return Renewer(queue=queue, clock=clock, lease_seconds=LEASE_SECONDS, held=held, on_lapse=lapsed.append)


async def test_a_lease_is_kept_as_long_as_it_is_held(clock: ManualClock) -> None:
    """Twelve of them for ten times their length, in more calls than one: nobody else receives any."""
    queue = MemoryQueue(clock)
    mine = await received(queue, clock, count=8) + await received(queue, clock, count=4)
    mine += await received(queue, clock, count=2, name="express")
    lapsed: list[Held] = []
    running = asyncio.create_task(renewer(queue, clock, mine, lapsed).run())
    await pass_seconds(clock, LEASE_SECONDS * 10)
    assert (await queue.depth("bulk")).ready == (await queue.depth("express")).ready == 0
    assert lapsed == []
    running.cancel()


async def test_a_fresh_lease_is_left_alone(clock: ManualClock) -> None:
    """Renewing costs a call, so not before a third of the time is used."""
    queue = MemoryQueue(clock)
    (mine,) = await received(queue, clock)
    subject = renewer(queue, clock, [mine], [])
    clock.advance(LEASE_SECONDS / 3 - 1)
    await subject.renew()
    assert mine.deadline == LEASE_SECONDS
    clock.advance(2)
    await subject.renew()
    assert mine.deadline == clock.monotonic() + LEASE_SECONDS


@pytest.mark.parametrize("fault", ["unavailable", "entry"])
async def test_an_extension_that_fails_leaves_the_old_deadline(clock: ManualClock, fault: str) -> None:
    """We never believe in a lease that the queue did not confirm; when it is over, the envelope is dropped."""
    queue = MemoryQueue(clock)
    (mine,) = await received(queue, clock)
    queue.faults.unavailable = fault == "unavailable"
    queue.faults.entry_failure_share = float(fault == "entry")
    lapsed: list[Held] = []
    subject = renewer(queue, clock, [mine], lapsed)
    clock.advance(LEASE_SECONDS - 1)
    await subject.renew()
    assert (mine.deadline, lapsed) == (LEASE_SECONDS, [])
    clock.advance(1)
    await subject.renew()
    assert lapsed == [mine]


async def test_no_lease_is_stretched_beyond_what_the_queue_allows(clock: ManualClock) -> None:
    """SQS counts twelve hours from the receive and refuses more."""
    queue = MemoryQueue(clock, limits=replace(AWS_LIMITS, lease_seconds_max=LEASE_SECONDS + 15))
    (mine,) = await received(queue, clock)
    subject = renewer(queue, clock, [mine], [])
    clock.advance(14)
    await subject.renew()
    kept_until = mine.deadline
    clock.advance(20)
    queue.extend = never  # type: ignore[method-assign]  # not even asked
    await subject.renew()
    assert kept_until == mine.deadline == 14 + LEASE_SECONDS


async def never(leases: object, *, lease_seconds: int) -> dict[int, str]:
    """An extension that must not be asked for."""
    raise AssertionError(leases)


async def test_a_deadline_that_has_passed_does_not_come_to_life_again(clock: ManualClock) -> None:
    """The queue's answer comes after it: the lease is dropped, because others of us may have given it up already."""
    queue = MemoryQueue(clock)
    (mine,) = await received(queue, clock)
    extend = queue.extend

    async def slow(leases: Sequence[Lease], *, lease_seconds: int) -> Failures:
        answer = await extend(leases, lease_seconds=lease_seconds)
        clock.advance(LEASE_SECONDS)
        return answer

    queue.extend = slow  # type: ignore[method-assign]  # its answer is late
    lapsed: list[Held] = []
    clock.advance(LEASE_SECONDS / 2)
    await renewer(queue, clock, [mine], lapsed).renew()
    assert (mine.deadline, lapsed) == (LEASE_SECONDS, [mine])


async def test_what_lapsed_or_went_before_its_turn_is_not_extended(clock: ManualClock) -> None:
    """A first call was slow: an extension now would only hide the envelope from whoever should have it next."""
    queue = MemoryQueue(clock)
    mine = await received(queue, clock, count=2)
    subject = renewer(queue, clock, [mine[0]], [])
    queue.extend = never  # type: ignore[method-assign]  # not even asked
    await subject._extend([mine[1]])
    clock.advance(LEASE_SECONDS)
    await subject._extend([mine[0]])
