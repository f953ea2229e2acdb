"""redrive: dead letters go back into their service's siding."""

import json

import pytest
from tests.simulation.world import envelope

from omni_etl.backends.memory import MemoryQueue
from omni_etl.clock import ManualClock
from omni_etl.envelope import SealedEnvelope
from omni_etl.queue import UNREADABLE, dead_letters, siding
from omni_etl.supervisor.redrive import LEASE_SECONDS, redrive


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock()


async def queue_with(clock: ManualClock, count: int) -> MemoryQueue:
    """Dead letters of metrics."""
    queue = MemoryQueue(clock)
    for seq in range(1, count + 1):
        await queue.send(dead_letters("metrics"), [envelope(seq)])
    return queue


async def stored(queue: MemoryQueue, name: str) -> int:
    """Envelopes in a queue."""
    depth = await queue.depth(name)
    return depth.ready + depth.leased


async def test_dead_letters_move_into_the_siding_of_their_service(clock: ManualClock) -> None:
    """All of them, more than one call takes; nothing to do is no error."""
    queue = await queue_with(clock, 23)
    assert await redrive(queue, "metrics", count_max=1000) == 23
    assert (await stored(queue, siding("metrics")), await stored(queue, dead_letters("metrics"))) == (23, 0)
    assert await redrive(queue, "metrics", count_max=1000) == 0


async def test_no_more_are_moved_than_asked(clock: ManualClock) -> None:
    """Try a few first."""
    queue = await queue_with(clock, 23)
    assert await redrive(queue, "metrics", count_max=12) == 12
    assert (await stored(queue, siding("metrics")), await stored(queue, dead_letters("metrics"))) == (12, 11)


async def test_what_the_siding_does_not_take_stays_a_dead_letter(clock: ManualClock) -> None:
    """And can be moved later."""
    queue = await queue_with(clock, 3)
    queue.faults.entry_failure_share = 1.0
    assert await redrive(queue, "metrics", count_max=1000) == 0
    queue.faults.entry_failure_share = 0.0
    assert await stored(queue, dead_letters("metrics")) == 3
    clock.advance(LEASE_SECONDS)
    assert await redrive(queue, "metrics", count_max=1000) == 3


async def test_what_no_service_was_named_for_goes_back_to_its_lane(clock: ManualClock) -> None:
    """Where the header, whatever else is wrong with it, names one; to bulk where it does not. No siding is there for it."""
    queue = MemoryQueue(clock)
    newer = json.dumps({"version": 2, "lane": "express", "seq": "a string by then"})
    for sealed in (envelope(1), SealedEnvelope(newer, b"?"), SealedEnvelope("hello", b"?")):
        await queue.send(UNREADABLE, [sealed])
    assert await redrive(queue, "unreadable", count_max=10) == 3
    assert [await stored(queue, name) for name in ("bulk", "express", siding("unreadable"))] == [2, 1, 0]
