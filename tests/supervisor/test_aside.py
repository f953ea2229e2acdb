"""aside: send, confirmed, before mark; and nobody waits for another's trouble."""

import asyncio
import random
from typing import Literal

import pytest
from tests.simulation.world import WorldRegistry
from tests.supervisor.leases import LEASE_SECONDS, held, pass_seconds, turn

from omni_etl.backends.memory import MemoryQueue
from omni_etl.clock import ManualClock
from omni_etl.envelope import SealedEnvelope
from omni_etl.errors import UnavailableError
from omni_etl.queue import UNREADABLE, Lease, dead_letters, siding
from omni_etl.supervisor.aside import Aside, Setting, set_unreadable_aside
from omni_etl.supervisor.held import Held


class AwayRegistry(WorldRegistry):
    """May be away."""

    is_away = False

    async def bury(self, service: str, key: str, reason: str) -> None:
        """Keep the reason, if at all."""
        if self.is_away:
            raise UnavailableError("no database")
        await super().bury(service, key, reason)


class Scene:
    """An aside on a queue that can fail."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.queue = MemoryQueue(self.clock)
        self.registry = AwayRegistry(["metrics"])
        self.confirmed: list[Setting] = []
        self.held: set[Held] = set()
        self.aside = Aside(
            queue=self.queue,
            registry=self.registry,
            clock=self.clock,
            rng=random.Random(1),
            held=self.held,
            on_aside=self.confirmed.append,
        )
        self.running = asyncio.create_task(self.aside.run())

    def put(self, seq: int, mark: Literal["sided", "dead"]) -> Setting:
        """Set one aside for metrics."""
        setting = Setting(held(seq), "metrics", mark, "because")
        self.held.add(setting.held)
        self.aside.put(setting)
        return setting

    async def stored(self, name: str) -> int:
        """Envelopes in a queue."""
        depth = await self.queue.depth(name)
        return depth.ready + depth.leased


async def test_what_is_sided_lies_in_the_siding_when_it_is_told() -> None:
    """Nobody hands it out meanwhile."""
    scene = Scene()
    setting = scene.put(1, "sided")
    assert setting.held.in_flight == {"metrics"}
    await turn()
    assert (await scene.stored(siding("metrics")), scene.confirmed) == (1, [setting])


async def test_a_dead_letter_has_its_reason_before_it_is_told() -> None:
    """The reason is written first: without it nobody could look at the letter."""
    scene = Scene()
    scene.registry.is_away = True
    setting = scene.put(1, "dead")
    await pass_seconds(scene.clock, 5)
    assert (await scene.stored(dead_letters("metrics")), scene.confirmed) == (0, [])
    scene.registry.is_away = False
    await pass_seconds(scene.clock, 6)
    assert (await scene.stored(dead_letters("metrics")), scene.confirmed) == (1, [setting])
    assert scene.registry.reasons == {("metrics", "h-bulk-1"): "because"}


@pytest.mark.parametrize("fault", ["unavailable", "entry", "answer"])
async def test_nothing_counts_as_aside_before_the_queue_confirmed(fault: str) -> None:
    """Away, refusing or silent: tried again; a lost answer may leave copies, never none."""
    scene = Scene()
    faults = scene.queue.faults
    faults.unavailable = fault == "unavailable"
    faults.entry_failure_share, faults.answer_lost_share = float(fault == "entry"), float(fault == "answer")
    scene.put(1, "sided")
    await pass_seconds(scene.clock, 5)
    assert scene.confirmed == []
    faults.unavailable, faults.entry_failure_share, faults.answer_lost_share = False, 0.0, 0.0
    await pass_seconds(scene.clock, 6)
    assert len(scene.confirmed) == 1
    assert await scene.stored(siding("metrics")) >= 1


async def test_one_that_cannot_be_set_aside_holds_up_no_other() -> None:
    """The database is away, so a dead letter waits for its reason; sidings, which need only the queue, do not."""
    scene = Scene()
    scene.registry.is_away = True
    scene.put(1, "dead")
    await turn()
    sided = scene.put(2, "sided")
    await turn()
    assert scene.confirmed == [sided]


async def test_a_lapsed_lease_is_not_set_aside() -> None:
    """Whoever has it now decides anew."""
    scene = Scene()
    scene.queue.faults.unavailable = True
    setting = scene.put(1, "sided")
    await pass_seconds(scene.clock, LEASE_SECONDS)
    scene.held.remove(setting.held)
    scene.queue.faults.unavailable = False
    await pass_seconds(scene.clock, 10)
    assert (await scene.stored(siding("metrics")), scene.confirmed) == (0, [])


async def test_one_that_is_still_held_is_set_aside_whatever_the_clock_says() -> None:
    """The deadline alone ends nothing: who gave up what is still held would leave it with nobody."""
    scene = Scene()
    scene.queue.faults.unavailable = True
    setting = scene.put(1, "sided")
    await pass_seconds(scene.clock, LEASE_SECONDS + 6)
    scene.queue.faults.unavailable = False
    await pass_seconds(scene.clock, 6)
    assert (await scene.stored(siding("metrics")), scene.confirmed) == (1, [setting])


async def unreadable(scene: Scene) -> Lease:
    """A lease of something that is no envelope."""
    await scene.queue.send("bulk", [SealedEnvelope("hello", b"?")])
    return (await scene.queue.receive("bulk", count_max=1, wait_seconds=0, lease_seconds=9))[0]


async def test_what_is_no_envelope_is_kept_for_a_person() -> None:
    """In its own dead letters, with the reason, and gone from the lane."""
    scene = Scene()
    await set_unreadable_aside(scene.queue, scene.registry, await unreadable(scene), "no header")
    assert (await scene.stored(UNREADABLE), await scene.stored("bulk")) == (1, 0)
    assert scene.registry.reasons == {("unreadable", "hello"): "no header"}


async def test_what_could_not_be_kept_stays_in_the_lane() -> None:
    """No deletion without a confirmed copy."""
    scene = Scene()
    lease = await unreadable(scene)
    scene.queue.faults.entry_failure_share = 1.0
    await set_unreadable_aside(scene.queue, scene.registry, lease, "no header")
    scene.queue.faults.entry_failure_share = 0.0
    assert (await scene.stored(UNREADABLE), await scene.stored("bulk")) == (0, 1)
