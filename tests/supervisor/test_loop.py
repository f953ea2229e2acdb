"""loop: what the parent decides of each lease. The dangerous whole of it is in `tests/simulation`."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from tests.simulation.world import LIMITS, SERVICES, World
from tests.supervisor.leases import held

from omni_etl.queue import dead_letters, siding
from omni_etl.registry import RegisteredService
from omni_etl.supervisor.channel import Outcome, Result, Work
from omni_etl.supervisor.held import Held
from omni_etl.supervisor.loop import Supervisor
from omni_etl.supervisor.receive import Source

TYPES = frozenset({"delivery", "bounce"})


class Children:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.given: list[tuple[str, Work]] = []

    async def send(self, service: str, work: Work) -> None:
        """Noted."""
        self.given.append((service, work))


def parent(*ready: str) -> Supervisor:
    """A parent that does not receive by itself; these of its children are ready."""
    subject = World(1).supervisor
    subject._children = Children()  # type: ignore[assignment]  # a fake with the one method that is used
    for name in ready or SERVICES:
        subject.child_ready(name, TYPES)
    return subject


def long_held(seq: int, *owed: str) -> Held:
    """A lease that does not lapse in this test."""
    mine = held(seq, owed=owed)
    mine.deadline = 10_000.0
    return mine


def answer(subject: Supervisor, service: str, outcome: Outcome) -> None:
    """The child answers for the oldest it holds."""
    subject.child_answered(service, Result(min(subject.desks[service].in_flight), outcome, outcome))


async def test_a_duplicate_of_what_was_settled_goes_at_once() -> None:
    """It owes nothing, so no child hears of it."""
    subject = parent()
    mine = held(owed=[])
    subject.take(mine)
    assert mine.settling
    assert not any(desk.in_flight for desk in subject.desks.values())


async def test_a_service_without_its_types_is_done_unopened() -> None:
    """Nothing in the envelope is for it; the others get it."""
    subject = parent("metrics")
    subject.child_ready("webhooks", frozenset({"click"}))
    mine = held(owed=["metrics", "webhooks"])
    subject.take(mine)
    assert mine.marks == {"webhooks": "done"}
    answer(subject, "metrics", "done")
    assert mine.settling


async def test_a_service_that_runs_elsewhere_gets_it_in_its_siding() -> None:
    """A parent that does not run an owed service sets the envelope aside for one that does."""
    world = World(1)
    await world.open()
    world.registry.registered = [*world.registry.registered, RegisteredService("fifth", 0, retired=False)]
    world.hear()
    await world.send(3)
    await world.until(lambda: not world.stored("bulk") and not world.stored("express"), seconds_max=30)
    assert world.stored(siding("fifth")) == 3
    world.check()
    await world.close()


async def test_an_envelope_is_settled_when_the_last_service_is_done() -> None:
    """Not before, and handed to no child twice."""
    subject = parent()
    mine = held(owed=SERVICES)
    subject.take(mine)
    for name in SERVICES:
        assert not mine.settling
        answer(subject, name, "done")
    assert mine.settling
    assert subject.state()["services"]["metrics"]["in_flight"] == 0


@pytest.mark.parametrize("outcome", ["poison", "lapsed", "unreadable", "conflict"])
async def test_only_a_ledger_that_was_read_closes_a_circuit(outcome: Outcome) -> None:
    """A probe that failed in another way says nothing about the engine, and the next one waits; "done" does."""
    subject = parent("metrics")
    circuit = subject.desks["metrics"].circuit
    for seq in range(6):
        subject.take(long_held(seq, "metrics", "webhooks"))
    answer(subject, "metrics", "unavailable")
    assert circuit.is_open
    answer(subject, "metrics", outcome)
    with capture_logs() as lines:
        for _ in range(3):
            subject._clock.advance(100)  # type: ignore[attr-defined]  # a manual one
            subject._pump(subject.desks["metrics"])
            answer(subject, "metrics", outcome)
            assert circuit.is_open
            assert not circuit.may_try(subject._clock.monotonic())
        subject._clock.advance(100)  # type: ignore[attr-defined]  # a manual one
        subject._pump(subject.desks["metrics"])
        answer(subject, "metrics", "done")
    assert not circuit.is_open
    assert [each["event"] for each in lines if each["event"].startswith("circuit")] == ["circuit_closed"]


async def test_two_contents_under_one_name_are_never_done() -> None:
    """The conflict is shouted and lies in that service's dead letters at once."""
    world = World(1)
    await world.open()
    world.trouble.slow_seconds = 1000.0
    await world.send(1)
    desk = world.supervisor.desks["metrics"]
    await world.until(lambda: bool(desk.in_flight), seconds_max=30)
    with capture_logs() as lines:
        answer(world.supervisor, "metrics", "conflict")
        await world.until(lambda: world.stored(dead_letters("metrics")) == 1, seconds_max=5)
    assert ("critical", "id_conflict") in [(each["log_level"], each["event"]) for each in lines]
    await world.close()


async def test_a_lease_that_ended_stands_in_no_line() -> None:
    """A line of what is gone would count as a backlog."""
    subject = parent()
    for seq in range(10):
        subject.take(held(seq, owed=SERVICES))
    for each in list(subject._held):
        subject._drop(each)
    assert {desk.backlog() for desk in subject.desks.values()} == {0}


async def test_a_late_answer_is_heard_and_judges_nothing() -> None:
    """The lease had lapsed, so it is no longer ours to mark; the slot is free again."""
    subject = parent()
    mine = held(owed=["metrics"])
    subject.take(mine)
    subject._drop(mine)
    answer(subject, "metrics", "done")
    assert (mine.marks, subject.state()["services"]["metrics"]["in_flight"]) == ({}, 0)
    subject.child_answered("metrics", Result(99, "done"))  # of a child before this one


async def test_a_mark_names_key_and_content() -> None:
    """As the receiver asks: a mark under another name would be no mark."""
    subject = parent()
    mine = held(owed=SERVICES)
    subject.take(mine)
    answer(subject, "metrics", "done")
    name, service, mark, _ = subject._marks._waiting.get_nowait()
    assert (name, service, mark) == (mine.tracked_as, "metrics", "done")


async def test_a_lapsed_lease_is_handed_to_nobody() -> None:
    """Before the renewer finds it, it is dropped: a child would give it back at once, thousands of times a second."""
    subject = parent("metrics")
    for seq in range(5):
        subject.take(held(seq, owed=["metrics"]))
    subject._clock.advance(31)  # type: ignore[attr-defined]  # a manual one
    answer(subject, "metrics", "lapsed")
    answer(subject, "metrics", "lapsed")
    assert not subject.desks["metrics"].in_flight
    assert not subject._held


async def test_a_lease_renewed_meanwhile_is_handed_out_again() -> None:
    """The child went by the deadline it was told; ours is later by now."""
    subject = parent("metrics")
    mine = held(owed=["metrics"])
    subject.take(mine)
    mine.deadline = 60.0
    subject._clock.advance(31)  # type: ignore[attr-defined]  # a manual one
    answer(subject, "metrics", "lapsed")
    assert list(subject.desks["metrics"].in_flight.values()) == [mine]


@pytest.mark.parametrize("outcome", ["conflict", "unreadable"])
async def test_not_even_what_dies_at_once_empties_the_queue_into_the_bin(outcome: Outcome) -> None:
    """A few dead letters, then the circuit opens and the rest wait: it is a fault of ours, not of so many envelopes."""
    subject = parent("metrics")
    for seq in range(20):
        subject.take(long_held(seq, "metrics", "webhooks"))
    desk = subject.desks["metrics"]
    for _ in range(20):
        if not desk.in_flight:
            break
        answer(subject, "metrics", outcome)
    assert desk.circuit.is_open
    assert subject._aside._waiting.qsize() == LIMITS.dead_count_min


async def test_a_stopping_parent_hands_out_nothing_more() -> None:
    """What is in flight may finish; what waits in line is for others."""
    subject = parent()
    for seq in range(LIMITS.child_slots + 2):
        subject.take(held(seq, owed=["metrics"]))
    desk = subject.desks["metrics"]
    waiting, busy = desk.backlog(), len(desk.in_flight)
    assert waiting
    subject._receiving = False
    answer(subject, "metrics", "done")
    assert (desk.backlog(), len(desk.in_flight)) == (waiting, busy - 1)
    assert subject.room(Source("bulk")) == 0


async def test_each_lane_leaves_room_for_the_other() -> None:
    """Neither takes more than three quarters, both together no more than there is."""
    subject = parent()
    for seq in range(12):
        subject.take(held(seq, owed=SERVICES))
    assert (subject.room(Source("bulk")), subject.room(Source("express"))) == (0, 4)
    for seq in range(4):
        subject.take(held(seq, lane="express", owed=SERVICES))
    assert subject.room(Source("express")) == 0


async def test_one_lease_at_a_time_is_a_limit_too() -> None:
    """The smallest setting still receives."""
    subject = parent()
    subject._limits = replace(LIMITS, leases_max=1)
    assert subject.room(Source("bulk")) == 1


async def test_with_every_engine_away_nothing_is_received() -> None:
    """Untouched envelopes cost nothing; one engine is enough to go on, and a due probe receives."""
    subject = parent()
    for desk in subject.desks.values():
        desk.circuit.failed(0.0, "away")
    assert (subject.room(Source("bulk")), subject.room(Source(siding("metrics"), "metrics"))) == (0, 0)
    subject._clock.advance(60)  # type: ignore[attr-defined]  # a manual one
    assert subject.room(Source("bulk")) > 0
    assert subject.room(Source(siding("metrics"), "metrics")) == LIMITS.child_slots


async def test_before_any_child_is_ready_nothing_is_received() -> None:
    """A parent whose children are starting holds no leases."""
    subject = World(1).supervisor
    assert subject.room(Source("bulk")) == subject.room(Source(siding("metrics"), "metrics")) == 0
