"""desk: the order of a service's work; no kind of it starves another."""

import random
from collections import Counter

import pytest
from tests import builders
from tests.supervisor.leases import held

from omni_etl.backoff import Backoff
from omni_etl.event import TYPES
from omni_etl.supervisor.circuit import Circuit, DeadShare
from omni_etl.supervisor.desk import Desk, kind_of
from omni_etl.supervisor.held import Held


def desk(*, slots: int = 3) -> Desk:
    """A desk whose child is ready."""
    circuit = Circuit(Backoff(first_seconds=1.0), random.Random(1))
    return Desk("metrics", slots, circuit, DeadShare(0.01, 3), ready=True)


def hand_out(subject: Desk, now: float = 0.0) -> list[Held]:
    """As much as it gives, as the parent's pump does."""
    given = []
    while (each := subject.take(now)) is not None:
        subject.in_flight[max(subject.in_flight, default=0) + 1] = each
        given.append(each)
    return given


def finish_one(subject: Desk) -> None:
    """The child answers for the oldest."""
    del subject.in_flight[min(subject.in_flight)]


def fill(subject: Desk, *, express: int = 0, siding: int = 0, bulk: int = 0) -> None:
    """Put envelopes in line."""
    for seq in range(bulk):
        subject.offer(held(seq))
    for seq in range(siding):
        subject.offer(held(seq, only="metrics"))
    for seq in range(express):
        subject.offer(held(seq, lane="express"))


def test_express_finds_a_slot_of_its_own() -> None:
    """However full of bulk a desk is, an express envelope is handed out at once."""
    subject = desk()
    fill(subject, bulk=10)
    assert len(hand_out(subject)) == 2
    fill(subject, express=1)
    assert [kind_of(each) for each in hand_out(subject)] == ["express"]


def test_express_leaves_a_slot_to_the_rest() -> None:
    """A storm of express envelopes does not stop the bulk."""
    subject = desk()
    fill(subject, express=10, bulk=10)
    assert Counter(map(kind_of, hand_out(subject))) == {"express": 2, "bulk": 1}


@pytest.mark.parametrize("slots", [2, 3, 5])
def test_a_child_never_holds_more_than_its_slots(slots: int) -> None:
    """Whatever stands in line, and in whatever order it came."""
    subject = desk(slots=slots)
    fill(subject, express=slots - 1)
    hand_out(subject)
    fill(subject, siding=9, bulk=9, express=9)
    hand_out(subject)
    assert len(subject.in_flight) == slots


@pytest.mark.parametrize("slots", [2, 3, 4, 7])
def test_siding_and_bulk_share_what_express_leaves(slots: int) -> None:
    """An old backlog gets at least half of it, and the lane is not starved by the backlog."""
    subject = desk(slots=slots)
    fill(subject, siding=200, bulk=200)
    given = hand_out(subject)
    for _ in range(100):
        finish_one(subject)
        given += hand_out(subject)
        kinds = Counter(map(kind_of, subject.in_flight.values()))
        assert kinds["bulk"] <= max(1, (slots - 1) // 2)
    counted = Counter(map(kind_of, given))
    assert counted["siding"] >= counted["bulk"] >= len(given) // 3


def test_without_a_siding_bulk_has_all_but_one_slot() -> None:
    """Nothing is kept free for a backlog that is not there."""
    subject = desk(slots=5)
    fill(subject, bulk=9)
    assert len(hand_out(subject)) == 4


def test_what_a_dead_child_held_comes_back_first() -> None:
    """In its old order, ready for the next child, and nothing while there is none."""
    subject = desk()
    fill(subject, bulk=4)
    first, second = hand_out(subject)
    assert subject.unseat() == [first, second]
    assert subject.take(0.0) is None
    subject.ready = True
    assert subject.take(0.0) is first


def test_suspects_work_alone_and_first() -> None:
    """After a death in company each envelope gets the child to itself, even while express traffic never ends."""
    subject = desk()
    fill(subject, bulk=2)
    killers = hand_out(subject)
    subject.unseat()
    subject.ready = True
    for each in killers:
        fill(subject, express=5)
        assert hand_out(subject) == [each]
        finish_one(subject)
        each.suspects.clear()
    assert len(hand_out(subject)) == 2


def test_a_suspect_waits_until_the_child_is_free() -> None:
    """It gets no company from before either: nothing more is handed out until those are through."""
    subject = desk()
    fill(subject, express=1)
    hand_out(subject)
    suspect = held(9)
    suspect.suspects.add("metrics")
    subject.offer(suspect)
    fill(subject, express=3)
    assert hand_out(subject) == []
    finish_one(subject)
    assert hand_out(subject) == [suspect]


def test_who_died_over_one_envelope_alone_accuses_no_other() -> None:
    """No suspicion without company; another service's suspicion does not count here."""
    subject = desk()
    fill(subject, bulk=1)
    (alone,) = hand_out(subject)
    subject.unseat()
    subject.ready = True
    assert alone.suspects == set()
    alone.suspects.add("webhooks")
    fill(subject, bulk=1)
    assert len(hand_out(subject)) == 2


def test_what_is_delayed_waits_for_its_time_and_then_goes_first() -> None:
    """A failed envelope is tried again after its pause, before newer ones."""
    subject = desk(slots=2)
    late = held(1)
    subject.offer_later(late, at=5.0)
    assert subject.take(4.9) is None
    assert subject.backlog() == 1
    fill(subject, bulk=1)
    assert subject.take(5.0) is late


def test_what_is_withdrawn_is_in_no_line() -> None:
    """Waiting or delayed, in whichever line."""
    subject = desk()
    for each in (held(1), held(2, lane="express"), held(3, only="metrics")):
        subject.offer(each)
        subject.offer_later(each, at=1.0)
        subject.withdraw(each)
    assert subject.backlog() == 0
    assert subject.take(2.0) is None


def test_an_open_circuit_gives_one_probe() -> None:
    """Nothing before it is due, then one."""
    subject = desk()
    fill(subject, bulk=3)
    subject.circuit.failed(0.0, "away")
    assert subject.take(0.1) is None
    assert subject.take(1.0) is not None
    subject.circuit.trying()
    assert subject.take(9.0) is None


def test_who_does_not_answer_is_stuck_and_that_is_said_once() -> None:
    """By the oldest work; one that was answered, or that a dead child held, is not waited for."""
    subject = desk()
    subject.hand_out(1, held(1), 0.0)
    subject.hand_out(2, held(2), 5.0)
    assert not subject.is_stuck(10.0, 10.0)
    subject.finish(1)
    assert not subject.is_stuck(15.0, 10.0)
    assert subject.is_stuck(15.1, 10.0)
    assert not subject.is_stuck(15.2, 10.0)
    subject.hand_out(3, held(3), 20.0)
    subject.unseat()
    assert not subject.is_stuck(99.0, 10.0)


def test_the_state_says_why_a_desk_does_not_work() -> None:
    """What `omni status` shows."""
    subject = desk()
    fill(subject, bulk=3)
    hand_out(subject)
    subject.circuit.failed(0.0, "no disk")
    assert subject.state() == {"circuit": "open", "reason": "no disk", "ready": True, "waiting": 1, "in_flight": 2}


def test_who_wants_everything_gets_empty_envelopes_too() -> None:
    """Its ledger has every number; others are done with what holds nothing for them."""
    some, every = desk(), desk()
    some.types, every.types = frozenset({"bounce", "open"}), TYPES
    holds = {kind: builders.envelope([builders.line(kind)]).header for kind in ("bounce", "delivery")}
    assert [subject.wants(holds["delivery"]) for subject in (some, every)] == [False, True]
    assert [subject.wants(holds["bounce"]) for subject in (some, every)] == [True, True]
    assert [subject.wants(builders.envelope([]).header) for subject in (some, every)] == [False, True]
