"""The dangerous promises, by seed: nothing lost, nothing doubled, no service holding up another."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from tests.simulation.world import LIMITS, SERVICES, World, envelope

from omni_etl.backends.memory_tracker import MemoryTracker
from omni_etl.clock import ManualClock
from omni_etl.envelope import LANES, SealedEnvelope, Stamp, pack
from omni_etl.errors import UnavailableError
from omni_etl.queue import UNREADABLE, Lease, dead_letters, siding
from omni_etl.registry import RegisteredService
from omni_etl.tracker import Mark, Progress


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


@pytest.mark.parametrize("seed", SEEDS)
async def test_two_parents_on_one_queue_never_double_an_effect(seed: int) -> None:
    """They share lanes, sidings and a tracker that forgets; leases lapse from one to the other."""
    world = World(seed)
    await world.open()
    other = world.beside()
    world.queue.faults.duplicate_share, world.queue.faults.answer_lost_share = 0.2, 0.1
    world.trouble.unavailable = world.trouble.dies_after = 0.05
    await world.send(40)
    await world.until(lambda: bool(world.supervisor._held and other.supervisor._held), seconds_max=60)
    world.tracker.forget()
    await other.kill()
    await world.until(world.is_settled, seconds_max=600)
    world.check()
    await world.close()
    await other.close()


async def test_express_is_not_held_up_by_a_bulk_backlog() -> None:
    """Every child is full of slow bulk work, and more waits: an express envelope is handed out at once, everywhere."""
    world = World(6)
    await world.open()
    world.trouble.slow_seconds = 600.0
    await world.send(40, lane="bulk")
    desks = world.supervisor.desks.values()
    await world.until(lambda: all(len(desk.in_flight) == 2 and desk.backlog() > 5 for desk in desks), seconds_max=20)
    await world.send(1, lane="express")
    await world.until(
        lambda: all(any(held.is_express for held in desk.in_flight.values()) for desk in desks), seconds_max=0.5
    )
    await world.close()


async def test_a_siding_gets_half_and_leaves_half() -> None:
    """After an outage the old backlog shrinks although the lane is full, and the lane moves although the backlog is large."""
    world = World(7)
    await world.open()
    world.trouble.away = {"metrics"}
    await world.send(40, lane="bulk")
    await world.until(lambda: world.stored(siding("metrics")) == 40, seconds_max=200)
    world.trouble.away = set()
    old, world.trouble.slow_seconds = list(world.sent), 1.0
    await world.send(40, lane="bulk")
    await world.until(lambda: sum(world.effects["metrics", key] for key in old) >= 30, seconds_max=100)
    new = sum(world.effects["metrics", key] for key in world.sent if key not in old)
    assert 15 <= new <= 32
    await world.until(world.is_settled, seconds_max=300)
    world.check()
    await world.close()


async def test_leases_are_renewed_while_their_envelopes_wait() -> None:
    """Work that takes many leases' time in all is received once: nothing lapses in our hands."""
    world = World(8)
    await world.open()
    world.trouble.slow_seconds = 20.0  # 16 envelopes, 2 slots: about 80 seconds, of leases of 30
    await world.send(16, lane="bulk")
    counts: set[int] = set()

    def settled() -> bool:
        counts.update(each.receive_count for each in world.queue._shelves["bulk"].messages.values())
        return world.is_settled()

    began = world.clock.monotonic()
    await world.until(settled, seconds_max=600)
    assert world.clock.monotonic() - began > 2 * world.limits.lease_seconds
    assert counts == {0, 1}
    world.check()
    await world.close()


async def test_what_lapses_in_our_hands_is_done_by_whoever_has_it_next() -> None:
    """The queue is away for longer than a lease: late children give the work back untouched, and no slot is lost."""
    world = World(9)
    await world.open()
    world.trouble.slow_seconds = 600.0
    await world.send(10)
    desks = world.supervisor.desks.values()
    await world.until(lambda: all(len(desk.in_flight) >= 2 for desk in desks), seconds_max=20)
    world.queue.faults.unavailable = True
    began = world.clock.monotonic()
    await world.until(lambda: world.clock.monotonic() - began > 40, seconds_max=60)
    assert not world.supervisor._held
    world.queue.faults.unavailable, world.trouble.slow_seconds = False, 0.2
    await world.until(world.is_settled, seconds_max=1200)
    world.check()
    await world.close()


@pytest.mark.parametrize("end", ["the child dies", "the lease lapses"])
async def test_a_lost_probe_does_not_leave_a_circuit_open_for_ever(end: str) -> None:
    """The one work that would have told that the engine is back never does; another one is sent."""
    world = World(10)
    await world.open()
    world.trouble.away = {"metrics"}
    await world.send(6)
    circuit = world.supervisor.desks["metrics"].circuit
    await world.until(lambda: circuit._probing, seconds_max=60)
    if end == "the child dies":
        world.children.die("metrics")
    else:
        world.queue.faults.unavailable = True
        await world.until(lambda: not world.supervisor._held, seconds_max=60)
        world.queue.faults.unavailable = False
    world.trouble.away = set()
    await world.until(lambda: not circuit.is_open, seconds_max=60)
    await world.until(world.is_settled, seconds_max=120)
    world.check()
    await world.close()


async def test_who_kills_its_child_takes_no_innocent_with_it() -> None:
    """Under traffic that never ends, only the killer is buried; everybody it had for company is done."""
    world = World(11)
    await world.open()
    await world.send(6, lane="bulk")
    world.trouble.always_deadly = {("webhooks", world.sent[2])}
    for _ in range(120):
        await world.send(4, lane="express")
        await world.until(lambda: world.rng.random() < 0.2, seconds_max=60)
    assert list(world.registry.reasons) == [("webhooks", world.sent[2])]
    await world.until(world.is_settled, seconds_max=300)
    assert list(world.registry.reasons) == [("webhooks", world.sent[2])]
    world.check()
    await world.close()


@pytest.mark.parametrize("trouble", ["slow", "dies"])
async def test_a_slow_service_holds_up_no_other(trouble: str) -> None:
    """Its engine answers and its circuit is closed; the others keep their rate, and express its second, for two minutes."""
    world = World(3, limits=replace(LIMITS, leases_max=64, wait_beyond_others_seconds=60.0))
    await world.open()
    world.trouble.slow_seconds = 0.05
    if trouble == "slow":
        world.trouble.slow = {"webhooks": 5.0}
    late: list[str] = []
    sent_at: dict[str, float] = {}
    for turn in range(1200):
        for lane in LANES:
            await world.send(1, lane=lane)
        sent_at[next(key for key in reversed(world.sent) if "express" in key)] = world.clock.monotonic()
        if trouble == "dies" and turn % 10 == 0:
            world.children.die("webhooks")
            world.supervisor.desks["webhooks"].ready = False  # as while its next start waits
        await world.until(_after(world, 0.1), seconds_max=1)
        due = [key for key, at in sent_at.items() if world.clock.monotonic() - at >= 2.0]
        late += [key for key in due if not world.effects["suppressions", key]]
        for key in due:
            del sent_at[key]
    assert late == []
    for service in ("metrics", "message_events", "suppressions"):
        assert sum(world.effects[service, key] for key in world.sent) >= len(world.sent) * 0.95
    assert world.stored(siding("webhooks")) > len(world.sent) // 2
    await world.close()


async def test_a_slow_store_holds_up_neither_of_the_others() -> None:
    """Two services that are slow together fill the leases between them no more than one alone."""
    world = World(4, limits=replace(LIMITS, leases_max=64, wait_beyond_others_seconds=60.0))
    await world.open()
    world.trouble.slow = {"metrics": 5.0, "message_events": 5.0}
    for _ in range(600):
        for lane in LANES:
            await world.send(1, lane=lane)
        await world.until(_after(world, 0.1), seconds_max=1)
    for service in ("webhooks", "suppressions"):
        assert sum(world.effects[service, key] for key in world.sent) >= len(world.sent) * 0.9
    await world.close()


async def test_a_siding_is_left_by_nobodys_hands() -> None:
    """The queue stumbles for a whole lease while an envelope is set aside, and extends late: an hour later all is well."""
    world = World(1)
    await world.open()
    world.registry.registered = [*world.registry.registered, RegisteredService("fifth", 0, retired=False)]
    world.hear()
    send, extend = world.queue.send, world.queue.extend
    stumbles = True

    async def no_send(queue_name: str, envelopes: Sequence[SealedEnvelope]) -> dict[int, str]:
        if stumbles and queue_name == siding("fifth"):
            await world.clock.sleep(1)
            raise UnavailableError("busy")
        return await send(queue_name, envelopes)

    async def late_extend(leases: Sequence[Lease], *, lease_seconds: int) -> dict[int, str]:
        answer = await extend(leases, lease_seconds=lease_seconds)
        await world.clock.sleep(26 if stumbles else 0)
        return answer

    world.queue.send, world.queue.extend = no_send, late_extend  # type: ignore[method-assign]  # a queue in trouble
    await world.send(1, lane="bulk")
    await world.until(_after(world, 45), seconds_max=60)
    stumbles = False
    await world.until(lambda: not world.stored("bulk"), seconds_max=120)
    assert world.stored(siding("fifth")) >= 1
    assert not world.supervisor._held
    await world.close()


async def test_an_application_that_never_ends_is_noticed() -> None:
    """The child answers pings and nothing else: it is replaced after a while, and every envelope is done."""
    world = World(4)
    await world.open()
    await world.send(3, lane="bulk")
    world.trouble.hung = {("webhooks", key) for key in world.sent[:2]}
    await world.until(world.is_settled, seconds_max=2 * world.limits.answer_seconds_max)
    world.check()
    await world.close()


async def test_one_key_with_two_contents_reaches_every_ledger() -> None:
    """Within the hour of the tombstone, too: a cloned machine's events are set aside with an alarm, never deleted unseen."""
    world = World(3)
    await world.open()
    await world.send(1, lane="bulk")
    await world.until(world.is_settled, seconds_max=30)
    other = pack({"delivery": [b'{"other":1}']}, Stamp("h", "bulk", 1, 1_700_000_000_000, {"express": 1, "bulk": 1}, 1))
    await world.queue.send("bulk", [other])
    await world.until(world.is_settled, seconds_max=30)
    assert [world.stored(dead_letters(service)) for service in SERVICES] == [1] * 4
    await world.close()


async def test_hoses_may_be_upgraded_before_parents() -> None:
    """Envelopes of a newer version are left alone, and the lane goes on."""
    world = World(2)
    await world.open()
    for seq in range(1, 101):
        sealed = envelope(seq, hose_id="newer")
        newer = SealedEnvelope(json.dumps({**json.loads(sealed.header), "version": 2}), sealed.payload)
        await world.queue.send("bulk", [newer])
    await world.send(10)
    await world.until(
        lambda: all(world.effects["metrics", key] for key in world.sent) and not world.supervisor._held, seconds_max=60
    )
    assert (world.stored("bulk"), world.stored(UNREADABLE)) == (100, 0)
    await world.close()


def _after(world: World, seconds: float) -> Callable[[], bool]:
    """So much later."""
    end = world.clock.monotonic() + seconds
    return lambda: world.clock.monotonic() >= end
