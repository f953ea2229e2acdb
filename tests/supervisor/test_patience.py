"""patience: how long an envelope waits for one service beyond the others."""

import random

import pytest
from tests.simulation.world import LIMITS, SERVICES
from tests.supervisor.leases import held

from omni_etl.supervisor.desk import Desk
from omni_etl.supervisor.held import Held
from omni_etl.supervisor.patience import SLOW_EXPRESS_SECONDS, SLOW_SECONDS, late

MANY, FEW = LIMITS.leases_max // 2, LIMITS.leases_max // 2 - 1


def desks() -> dict[str, Desk]:
    """One a service."""
    return {name: Desk.of(name, LIMITS, random.Random(1)) for name in SERVICES}


def waiting(count: int, *names: str, lane: str = "bulk") -> list[Held]:
    """Leases that only these services have not marked yet; the last mark came at 0."""
    found = [held(seq, lane=lane, owed=SERVICES) for seq in range(count)]
    for each in found:
        each.marks.update({name: "done" for name in SERVICES if name not in names})
    return found


def late_for(leases: list[Held], now: float, *, at: dict[str, Desk] | None = None) -> list[str]:
    """The services that are waited for no more."""
    return [desk.service for _, desk in late(leases, at or desks(), LIMITS, now=now)]


def test_while_leases_last_the_whole_wait_is_granted() -> None:
    """A service that is merely slow has its time."""
    leases = waiting(FEW, "webhooks")
    assert late_for(leases, LIMITS.wait_beyond_others_seconds - 0.1) == []
    assert late_for(leases, LIMITS.wait_beyond_others_seconds) == ["webhooks"] * FEW


def test_an_engine_that_is_away_uses_the_wait_up() -> None:
    """What is left of it while leases last, nothing once they run short."""
    at = desks()
    at["webhooks"].circuit.failed(-6.0, "away")
    assert late_for(waiting(1, "webhooks"), 0.0, at=at) == []
    assert late_for(waiting(1, "webhooks"), LIMITS.wait_beyond_others_seconds - 6.0, at=at) == ["webhooks"]
    rest = [held(seq, owed=SERVICES) for seq in range(MANY)]
    assert late_for([*waiting(1, "webhooks"), *rest], 0.0, at=at) == ["webhooks"]


def test_who_alone_holds_too_many_leases_is_waited_for_no_more() -> None:
    """Its circuit is closed, and yet nobody else gets leases: at once, once leases run short."""
    assert late_for(waiting(MANY, "webhooks"), 0.0) == ["webhooks"] * MANY


def test_a_few_may_wait_for_one_service_also_when_leases_are_short() -> None:
    """A busy parent always has some that one service has not done yet."""
    few = waiting(LIMITS.leases_max // 8, "webhooks")
    rest = [held(seq, owed=SERVICES) for seq in range(MANY)]
    assert late_for([*few, *rest], 0.0) == []


@pytest.mark.parametrize(("lane", "seconds"), [("bulk", SLOW_SECONDS), ("express", SLOW_EXPRESS_SECONDS)])
def test_two_slow_services_hold_up_nobody_either(lane: str, seconds: float) -> None:
    """A slow store is two slow services: after a while one of them is let go, and then the other waits alone."""
    leases = waiting(MANY, "metrics", "message_events", lane=lane)
    leases += waiting(1, "metrics", lane=lane)
    assert set(late_for(leases, seconds - 0.1)) == set()
    assert set(late_for(leases, seconds)) == {"metrics"}


def test_what_is_worked_on_is_not_set_aside() -> None:
    """Nor what nobody has finished yet, what is settling, or what came from a siding."""
    leases = waiting(MANY, "webhooks")
    for each in leases:
        each.in_flight.add("webhooks")
    settling = waiting(1)[0]
    settling.settling = True
    leases += [settling, held(98, owed=SERVICES), held(99, only="webhooks", owed=["webhooks"])]
    assert late_for(leases, 10_000.0) == []
