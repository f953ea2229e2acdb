"""hose.sender: from the spool to the queue, as often as it takes."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from tests.builders import sealed
from tests.hose.fake_queue import LIMITS, FakeQueue
from tests.hose.hoses import event

from omni_etl.clock import ManualClock
from omni_etl.envelope import Lane, SealedEnvelope, open_header
from omni_etl.hose.sender import Sender
from omni_etl.queue import Failures


class _Shelf:
    """Envelopes by place."""

    def __init__(self) -> None:
        self.envelopes: dict[int, SealedEnvelope] = {}
        self.lost: set[int] = set()
        self.confirmed: list[int] = []

    def read(self, place: int) -> SealedEnvelope | None:
        return None if place in self.lost else self.envelopes[place]

    def confirm(self, places: Sequence[int]) -> None:
        self.confirmed.extend(places)

    def put(self, *, lane: Lane, count: int) -> list[int]:
        first = len(self.envelopes)
        places = list(range(first, first + count))
        for place in places:
            self.envelopes[place] = sealed([event(place)], seq=place, lane=lane)
        return places


class _Scene:
    def __init__(self, queue: FakeQueue, in_flight_max: int) -> None:
        self.queue = queue
        self.shelf = _Shelf()
        self.clock = ManualClock()
        self.sender = Sender(
            queue,
            shelf=self.shelf,
            clock=self.clock,
            rng=random.Random(1),
            in_flight_max=in_flight_max,
            queue_is_open=False,
        )

    def add(self, lane: Lane, count: int) -> list[int]:
        places = self.shelf.put(lane=lane, count=count)
        self.sender.add(lane, places)
        return places

    async def turns(self, count: int = 20) -> None:
        for _ in range(count):
            await self.clock.sleep(0)


@asynccontextmanager
async def _scene(queue: FakeQueue | None = None, *, in_flight_max: int = 4) -> AsyncIterator[_Scene]:
    scene = _Scene(queue or FakeQueue(), in_flight_max)
    task = asyncio.create_task(scene.sender.run())
    yield scene
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_everything_arrives_in_calls_within_the_queues_limits() -> None:
    """Count and bytes; the fake asserts both."""
    queue = FakeQueue(replace(LIMITS, batch_count_max=3, batch_bytes_max=1_500))
    async with _scene(queue) as scene:
        places = scene.add("bulk", 10)
        await scene.sender.drained()
    assert sorted(scene.shelf.confirmed) == places
    assert len(queue.unique()) == len(queue.sent) == 10
    assert max(queue.calls) in (2, 3)


async def test_express_goes_first() -> None:
    """However much bulk was there before it."""
    async with _scene(in_flight_max=1) as scene:
        scene.add("bulk", 25)
        scene.add("express", 1)
        await scene.sender.drained()
    assert scene.queue.sent[0][0] == "express"


async def test_bulk_leaves_a_slot_free() -> None:
    """An express envelope that comes while all else is slow does not wait for it."""
    never = asyncio.Event()

    class _SlowQueue(FakeQueue):
        async def send(self, queue_name: str, envelopes: Sequence[SealedEnvelope]) -> Failures:
            if queue_name == "bulk":
                await never.wait()
            return await super().send(queue_name, envelopes)

    async with _scene(_SlowQueue(), in_flight_max=3) as scene:
        scene.add("bulk", 100)
        await scene.turns()
        express = scene.add("express", 1)
        await scene.turns()
        assert scene.shelf.confirmed == express


async def test_an_entry_refused_goes_again_alone_and_holds_up_nobody() -> None:
    """Later and later, under its own key, until it is taken."""
    refusals = 3

    def _fault(envelopes: Sequence[SealedEnvelope]) -> Failures:
        nonlocal refusals
        for position, envelope in enumerate(envelopes):
            if open_header(envelope.header).seq == 4 and refusals:
                refusals -= 1
                return {position: "throttled"}
        return {}

    async with _scene() as scene:
        scene.queue.fault = _fault
        places = scene.add("bulk", 10)
        with capture_logs() as logs:
            await scene.turns()
            assert sorted(scene.shelf.confirmed) == [place for place in places if place != 4]
            for _ in range(refusals + 1):
                scene.clock.advance(10)
                await scene.turns()
        await scene.sender.drained()
    assert sorted(scene.shelf.confirmed) == places
    assert len(scene.queue.sent) == 10
    assert scene.queue.calls == [10, 1, 1, 1]
    assert [entry["event"] for entry in logs] == ["hose_entry_refused"] * 3


async def test_a_queue_away_is_said_once_asked_by_one_call_at_a_time_and_said_back() -> None:
    """However long it takes; then all of it arrives."""
    async with _scene() as scene:
        scene.queue.away = True
        with capture_logs() as logs:
            places = scene.add("bulk", 50)
            for _ in range(30):
                await scene.turns()
                scene.clock.advance(5)
            scene.queue.away = False
            scene.clock.advance(15)
            await scene.sender.drained()
    assert [entry["event"] for entry in logs] == ["hose_queue_away", "hose_queue_back"]
    assert 10 < logs[1]["tries"] < 35
    assert sorted(scene.shelf.confirmed) == places


async def test_a_lost_answer_repeats_the_same_envelopes() -> None:
    """The queue may hold them twice, byte for byte, which every service is made for."""
    faults: list[Failures | None] = [None, {}]
    async with _scene() as scene:
        scene.queue.fault = lambda _: faults.pop(0)
        places = scene.add("bulk", 3)
        with capture_logs():
            await scene.turns()
            assert scene.shelf.confirmed == []
            scene.clock.advance(5)
            await scene.sender.drained()
    assert scene.shelf.confirmed == places
    assert len(scene.queue.sent) == 6
    assert len(scene.queue.unique()) == 3


async def test_what_the_disk_lost_does_not_stop_the_rest() -> None:
    """The spool has called someone; nobody waits for it any more."""
    async with _scene() as scene:
        places = scene.shelf.put(lane="bulk", count=3)
        scene.shelf.lost = {1}
        scene.sender.add("bulk", places)
        await scene.sender.drained()
    assert sorted(scene.shelf.confirmed) == places
    assert len(scene.queue.sent) == 2


async def test_a_fault_of_ours_ends_the_sender() -> None:
    """It must not look like a quiet queue."""

    class _BrokenQueue(FakeQueue):
        async def send(self, queue_name: str, envelopes: Sequence[SealedEnvelope]) -> Failures:
            raise ZeroDivisionError

    scene = _Scene(_BrokenQueue(), 4)
    scene.add("bulk", 1)
    with pytest.raises(ZeroDivisionError):
        await scene.sender.run()


async def test_nobody_looks_while_the_only_call_hangs() -> None:
    """The queue is away and the one call that asks for it takes its time: the loop stands still until that call lands."""
    queue = FakeQueue()
    queue.away = True
    async with _scene(queue) as scene:
        scene.add("bulk", 25)
        await scene.turns()
        lands, looks = asyncio.Event(), 0
        look = scene.sender._next

        async def hang(queue_names: Sequence[str]) -> None:
            await lands.wait()

        def count() -> object:
            nonlocal looks
            looks += 1
            return look()

        queue.open, scene.sender._next = hang, count  # type: ignore[method-assign,assignment]  # a queue that hangs
        scene.clock.advance(20)
        await scene.turns()
        looks = 0
        await scene.turns(100)
        assert looks == 0
        queue.away = False
        lands.set()
        await scene.sender.drained()
    assert len(queue.sent) == 25
