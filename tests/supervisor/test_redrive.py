"""redrive: dead letters go back into their service's siding, or are given up for good."""

import json

import pytest
from tests.simulation.world import envelope

from omni_etl.backends.memory import MemoryQueue
from omni_etl.clock import ManualClock
from omni_etl.dead_letters import Left
from omni_etl.envelope import SealedEnvelope, open_header
from omni_etl.queue import UNREADABLE, dead_letters, siding
from omni_etl.supervisor.dead_letters import LEASE_SECONDS
from omni_etl.supervisor.redrive import Choice, Mending, Went


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock()


class Notes:
    """What was noted, in order; only what leaving asks."""

    def __init__(self, queue: MemoryQueue) -> None:
        self.queue = queue
        self.left: list[tuple[str, str, Left, int | None]] = []
        self.lying: list[int] = []  # how many dead letters of metrics there were at each note

    async def leave(self, service: str, key: str, how: Left, *, event_count: int | None = None) -> None:
        """Note it."""
        self.left.append((service, key, how, event_count))
        self.lying.append(await stored(self.queue, dead_letters("metrics")))


async def redrive(queue: MemoryQueue, service: str, *, count_max: int, key: str | None = None) -> int:
    """How many were put back."""
    mending = Mending(queue, Notes(queue), clock=ManualClock())  # type: ignore[arg-type]  # all that it asks
    return (await mending.redrive(Choice(service, count_max, key))).envelopes


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
    clock.advance(LEASE_SECONDS)  # the queue took no release either
    assert await redrive(queue, "metrics", count_max=1000) == 3


async def test_what_no_service_was_named_for_goes_back_to_its_lane(clock: ManualClock) -> None:
    """Where the header, whatever else is wrong with it, names one; to bulk where it does not. No siding is there for it."""
    queue = MemoryQueue(clock)
    newer = json.dumps({"version": 2, "lane": "express", "seq": "a string by then"})
    for sealed in (envelope(1), SealedEnvelope(newer, b"?"), SealedEnvelope("hello", b"?")):
        await queue.send(UNREADABLE, [sealed])
    assert await redrive(queue, "unreadable", count_max=10) == 3
    assert [await stored(queue, name) for name in ("bulk", "express", siding("unreadable"))] == [2, 1, 0]


async def test_one_of_them_can_be_meant(clock: ManualClock) -> None:
    """By its key; the others lie where they lay, for anyone to take."""
    queue = await queue_with(clock, 23)
    key = open_header(envelope(17).header).key
    assert await redrive(queue, "metrics", count_max=1000, key=key) == 1
    [lease] = await queue.receive(siding("metrics"), count_max=10, wait_seconds=0, lease_seconds=30)
    assert lease.envelope == envelope(17)
    assert (await queue.depth(dead_letters("metrics"))).ready == 22


async def test_what_is_discarded_is_noted_before_it_is_gone(clock: ManualClock) -> None:
    """With its events: a crash in between leaves a letter too many, never a loss that nobody can explain."""
    queue = await queue_with(clock, 2)
    notes = Notes(queue)
    heard: list[None] = []
    mending = Mending(queue, notes, clock=clock, on_one=lambda: heard.append(None))  # type: ignore[arg-type]  # as above
    events = open_header(envelope(1).header).event_count
    assert await mending.discard(Choice("metrics", 10)) == Went(2, 2 * events)
    keys = [open_header(envelope(seq).header).key for seq in (1, 2)]
    assert notes.left == [("metrics", key, "discarded", events) for key in keys]
    assert (notes.lying, len(heard)) == ([2, 1], 2)
    assert await stored(queue, dead_letters("metrics")) == 0
    assert await stored(queue, siding("metrics")) == 0


async def test_what_is_put_back_is_noted_after_it_went(clock: ManualClock) -> None:
    """A crash in between shows one letter too many, which is harmless."""
    queue = await queue_with(clock, 1)
    notes = Notes(queue)
    await Mending(queue, notes, clock=clock).redrive(Choice("metrics", 10))  # type: ignore[arg-type]  # as above
    assert notes.left == [("metrics", open_header(envelope(1).header).key, "redriven", None)]
    assert notes.lying == [0]
