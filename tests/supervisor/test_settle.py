"""settle: the only place that deletes, and only what owes nothing."""

import asyncio
import random

import pytest
from tests.simulation.world import WorldRegistry, envelope
from tests.supervisor.leases import LEASE_SECONDS, pass_seconds, received, turn

from omni_etl.backends.memory import MemoryQueue
from omni_etl.backends.memory_tracker import MemoryTracker
from omni_etl.clock import ManualClock
from omni_etl.envelope import open_header
from omni_etl.errors import UnavailableError
from omni_etl.supervisor.engines import Engines
from omni_etl.supervisor.held import Held
from omni_etl.supervisor.settle import Settler, delete_copied


class Scene:
    """A settler on a queue that can fail."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.queue = MemoryQueue(self.clock)
        self.tracker = MemoryTracker(self.clock)
        self.settled: list[Held] = []
        self.settler = Settler(
            engines=Engines(
                queue=self.queue,
                tracker=self.tracker,
                registry=WorldRegistry([]),
                clock=self.clock,
                rng=random.Random(1),
            ),
            clock=self.clock,
            rng=random.Random(1),
            on_settled=self.settled.append,
        )
        self.running = asyncio.create_task(self.settler.run())

    async def done(self, *, count: int = 1, name: str = "bulk", only: str | None = None) -> list[Held]:
        """Leases that nothing is owed for."""
        found = await received(self.queue, self.clock, count=count, name=name, only=only)
        for each in found:
            each.marks["metrics"] = "done"
        return found

    async def stored(self, name: str = "bulk") -> int:
        """Envelopes in the queue."""
        depth = await self.queue.depth(name)
        return depth.ready + depth.leased


def tracked_as(seq: int) -> str:
    """What the tracker calls it."""
    return open_header(envelope(seq).header).tracked_as


async def test_what_owes_nothing_is_deleted_and_buried() -> None:
    """From each queue it came from, and a late duplicate finds the tombstone."""
    scene = Scene()
    for each in await scene.done(count=3) + await scene.done(count=2, name="express"):
        scene.settler.settle(each)
        assert each.settling
    await turn()
    assert (await scene.stored(), await scene.stored("express"), len(scene.settled)) == (0, 0, 5)
    assert [each.settled for each in await scene.tracker.ask([tracked_as(1), tracked_as(4)])] == [True, False]


async def test_what_still_owes_is_never_deleted() -> None:
    """An assertion of our own, before the queue hears anything."""
    scene = Scene()
    (owing,) = await received(scene.queue, scene.clock)
    with pytest.raises(AssertionError, match="still owes"):
        scene.settler.settle(owing)
    await turn()
    assert await scene.stored() == 1


async def test_a_sidings_lease_leaves_no_tombstone() -> None:
    """The tracker speaks for lanes: other services may still owe the envelope whose copy this was."""
    scene = Scene()
    for each in await scene.done(name="siding-metrics", only="metrics"):
        scene.settler.settle(each)
    await turn()
    assert await scene.stored("siding-metrics") == 0
    assert not (await scene.tracker.ask([tracked_as(1)]))[0].settled


@pytest.mark.parametrize("fault", ["unavailable", "entry"])
async def test_a_delete_that_fails_is_tried_until_it_is_done(fault: str) -> None:
    """The queue is away, or refuses entries: nothing counts as settled before it confirmed."""
    scene = Scene()
    for each in await scene.done(count=3):
        scene.settler.settle(each)
    scene.queue.faults.unavailable = fault == "unavailable"
    scene.queue.faults.entry_failure_share = float(fault == "entry")
    await pass_seconds(scene.clock, 10)
    assert scene.settled == []
    scene.queue.faults.unavailable, scene.queue.faults.entry_failure_share = False, 0.0
    await pass_seconds(scene.clock, 6)
    assert (await scene.stored(), len(scene.settled)) == (0, 3)


async def test_a_lost_answer_only_repeats_the_delete() -> None:
    """Deleting what is gone is harmless."""
    scene = Scene()
    for each in await scene.done():
        scene.settler.settle(each)
    scene.queue.faults.answer_lost_share = 1.0
    await turn()
    assert (await scene.stored(), scene.settled) == (0, [])
    scene.queue.faults.answer_lost_share = 0.0
    await pass_seconds(scene.clock, 1)
    assert len(scene.settled) == 1


async def test_a_lapsed_lease_is_given_up_and_not_buried() -> None:
    """Someone else may have it; that one finds every ledger saying done."""
    scene = Scene()
    (mine,) = await scene.done()
    scene.settler.settle(mine)
    scene.queue.faults.unavailable = True
    await pass_seconds(scene.clock, LEASE_SECONDS + 6)
    assert scene.settled == [mine]
    scene.queue.faults.unavailable = False
    await pass_seconds(scene.clock, 6)
    assert await scene.stored() == 1
    assert not (await scene.tracker.ask([mine.tracked_as]))[0].settled


async def test_without_a_tracker_leases_end_all_the_same() -> None:
    """A missing tombstone costs a late duplicate one question."""
    scene = Scene()

    async def away(keys: object) -> None:
        raise UnavailableError("no tracker")

    scene.tracker.bury = away  # type: ignore[method-assign]  # the engine is away
    for each in await scene.done():
        scene.settler.settle(each)
    await turn()
    assert (await scene.stored(), len(scene.settled), scene.running.done()) == (0, 1, False)


async def test_drain_is_one_more_round() -> None:
    """At the end, without the loop; what the queue does not take stays."""
    scene = Scene()
    scene.running.cancel()
    for each in await scene.done(count=2):
        scene.settler.settle(each)
    await scene.settler.drain()
    assert (await scene.stored(), len(scene.settled)) == (0, 2)


async def test_a_copied_entry_is_deleted() -> None:
    """For what another queue has confirmed."""
    scene = Scene()
    (mine,) = await received(scene.queue, scene.clock)
    await delete_copied(scene.queue, mine.lease)
    assert await scene.stored() == 0
