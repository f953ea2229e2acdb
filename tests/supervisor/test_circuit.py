"""circuit: whether a service may be given work."""

import random

from omni_etl.backoff import Backoff
from omni_etl.supervisor.circuit import WINDOW_SECONDS, Circuit, DeadShare


def circuit() -> Circuit:
    """A closed one."""
    return Circuit(Backoff(first_seconds=1.0, wait_seconds_max=8.0), random.Random(1))


def test_work_flows_while_closed() -> None:
    """Any number at the same time."""
    subject = circuit()
    subject.trying()
    assert subject.may_try(0.0)
    assert not subject.is_open
    assert subject.open_seconds(9.0) == 0.0


def test_the_first_failure_opens_it_and_says_so_once() -> None:
    """Only the change is worth a line."""
    subject = circuit()
    assert subject.failed(5.0, "away")
    assert not subject.failed(6.0, "still away")
    assert (subject.is_open, subject.reason, subject.open_seconds(9.0)) == (True, "still away", 4.0)


def test_an_open_circuit_is_probed_by_one_work_at_a_time() -> None:
    """After the pause one may go; its failure brings the next pause."""
    subject = circuit()
    subject.failed(0.0, "away")
    assert not subject.may_try(0.4)
    assert subject.may_try(1.0)
    subject.trying()
    assert not subject.may_try(100.0)
    subject.failed(100.0, "away")
    assert not subject.may_try(100.9)
    assert subject.may_try(102.0)


def test_pauses_grow_to_their_limit() -> None:
    """An engine that is away for long is not knocked down when it comes back, and not missed for long."""
    subject = circuit()
    subject.failed(0.0, "away")
    assert subject.may_try(1.0)
    for _ in range(9):
        subject.failed(0.0, "away")
        assert not subject.may_try(0.9)
    assert not subject.may_try(3.9)
    assert subject.may_try(8.0)


def test_success_closes_it_and_forgets_the_pauses() -> None:
    """The next outage begins with a short pause."""
    subject = circuit()
    for _ in range(10):
        subject.failed(0.0, "away")
    assert subject.succeeded()
    assert not subject.succeeded()
    assert (subject.may_try(0.0), subject.reason) == (True, "")
    subject.failed(0.0, "away")
    assert subject.may_try(1.0)


def test_a_few_may_always_be_buried() -> None:
    """A quiet system has its dead, too."""
    subject = DeadShare(share_max=0.01, count_min=3)
    assert [subject.may_bury(0.0) for _ in range(4)] == [True, True, True, False]


def test_among_many_one_percent_may_be_buried() -> None:
    """The dead count as envelopes themselves; a refused one is not counted."""
    subject = DeadShare(share_max=0.01, count_min=3)
    for _ in range(500):
        subject.done(0.0)
    assert sum(subject.may_bury(0.0) for _ in range(20)) == 5


def test_a_minute_later_it_is_forgotten() -> None:
    """Both what was done and who died."""
    subject = DeadShare(share_max=0.01, count_min=1)
    assert subject.may_bury(0.0)
    assert not subject.may_bury(WINDOW_SECONDS)
    assert subject.may_bury(WINDOW_SECONDS + 0.1)
