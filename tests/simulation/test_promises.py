"""The dangerous promises, by seed: nothing lost, nothing doubled, no service holding up another."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from omni_etl.backends.memory_tracker import MemoryTracker
from omni_etl.clock import ManualClock
from omni_etl.errors import UnavailableError
from omni_etl.queue import dead_letters, siding
from omni_etl.tracker import Mark, Progress
from tests.simulation.world import SERVICES, World


class AwayTracker(MemoryTracker):
    """Never answers."""

    async def ask(self, keys: Sequence[str]) -> list[Progress]:
        """Away."""
        raise UnavailableError("no tracker")

    async def mark(self, key: str, service: str, mark: Mark, owed: frozenset[str]) -> frozenset[str]:
        """Away."""
        raise UnavailableError("no tracker")

    async def bury(self, keys: Sequence[str]) -> None:
        """Away."""
        raise UnavailableError("no tracker")


SEEDS = range(int(os.environ.get("OMNI_SIM_SEEDS", "5")))


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_effect_happens_once_whatever_fails(seed: int) -> None:
    """Queue, tracker and children fail, lie, repeat and die; every envelope still has every effect exactly once."""
    world = World(seed)
    await world.open()
    faults = world.queue.faults
    faults.duplicate_share, faults.entry_failure_share, faults.answer_lost_share = 0.1, 0.1, 0.1
    trouble = world.trouble
    trouble.unavailable, trouble.dies_before, trouble.dies_after = 0.05, 0.02, 0.02
    for round_number in range(6):
        await world.send(8)
        if round_number % 2:
            world.tracker.forget()
        if round_number == 3:
            await world.kill()
        await world.until(lambda: world.rng.random() < 0.02, seconds_max=600)
    trouble.unavailable = trouble.dies_before = trouble.dies_after = 0.0
    await world.until(world.is_settled, seconds_max=600)
    world.check()
    await world.close()


async def test_poison_is_set_aside_alone() -> None:
    """An envelope that one service can never apply becomes that service's dead letter; its other effects stand."""
    world = World(1)
    await world.open()
    world.trouble.always_poison = {("metrics", "h-bulk-3"), ("metrics", "h-express-3")}
    await world.send(6)
    await world.until(world.is_settled, seconds_max=120)
    world.check()
    assert world.stored(dead_letters("metrics")) == 1
    assert [service for service, _ in world.registry.reasons] == ["metrics"]
    await world.close()


async def test_a_broken_deploy_does_not_empty_the_queue_into_the_bin() -> None:
    """Where everything fails, a few envelopes die, then the circuit opens and the rest wait."""
    world = World(2)
    await world.open()
    world.trouble.poison = 1.0
    await world.send(30)
    await world.until(lambda: world.supervisor.desks["metrics"].circuit.is_open, seconds_max=120)
    await world.until(lambda: world.rng.random() < 0.01, seconds_max=120)
    assert all(world.stored(dead_letters(service)) <= world.limits.dead_count_min + 1 for service in SERVICES)
    world.trouble.poison = 0.0
    await world.until(world.is_settled, seconds_max=300)
    world.check()
    await world.close()


async def test_a_service_that_is_away_holds_up_no_other() -> None:
    """Metrics' engine is away: the others finish, metrics' envelopes wait in its siding and are done when it is back."""
    world = World(3)
    await world.open()
    world.trouble.away = {"metrics"}
    await world.send(60)
    others = [name for name in SERVICES if name != "metrics"]
    await world.until(
        lambda: all(world.effects[name, key] for name in others for key in world.sent) and not world.stored("bulk"),
        seconds_max=120,
    )
    assert world.stored(siding("metrics")) == 60
    assert not any(world.stored(siding(name)) for name in others)
    world.trouble.away = set()
    await world.until(world.is_settled, seconds_max=300)
    world.check()
    await world.close()


async def test_without_its_tracker_the_parent_goes_on() -> None:
    """The tracker is away from the start: the ledgers alone settle everything."""
    world = World(4, tracker=AwayTracker(ManualClock()))
    await world.open()
    await world.send(20)
    await world.until(world.is_settled, seconds_max=120)
    world.check()
    await world.close()


async def test_a_stopping_parent_gives_back_what_it_did_not_finish() -> None:
    """After `stop`, unfinished envelopes are ready for another parent at once, not after their leases lapse."""
    world = World(5)
    await world.open()
    world.trouble.away = set(SERVICES)
    await world.send(10)
    await world.until(lambda: bool(world.supervisor._held), seconds_max=30)
    held = len(world.supervisor._held)
    assert await world.supervisor.stop(0) == {"given_back": held}
    ready = [(await world.queue.depth(name)).ready for name in ("express", "bulk")]
    assert sum(ready) == 10
    await world.close()
