"""services.webhooks.lane: how much one webhook may have in flight, and when nothing."""

import pytest
from tests.services.webhooks.fakes import OK
from tests.services.webhooks.scene import batches

from omni_etl.outbox import FAILURES_OPEN, DueBatch, Lane
from omni_etl.poster import Answer
from omni_etl.services.webhooks.lane import FRESH_BATCHES_MAX, WebhookLane

REFUSED = Answer(500, "500")
OVERLOADED = [Answer(429, "429"), Answer(503, "503"), Answer(None, "timeout after 10 s")]


def lane(**members: object) -> WebhookLane:
    """With up to 32 attempts of ten seconds at the same time."""
    return WebhookLane("w", 32, 10.0, **members)  # type: ignore[arg-type] # by name


def answered(subject: WebhookLane, *answers: Answer, began: float = 0.0, seconds: float = 0.1) -> None:
    """One after another, all begun in the same moment."""
    for answer in answers:
        subject.answered(answer, began=began, ended=began + seconds, is_probe=subject.is_open)


def test_a_new_webhook_has_one_slot_and_then_twice_as_many() -> None:
    """Each round of successes doubles it, up to what one webhook may have."""
    subject = lane()
    limits = []
    for moment in range(7):
        limits.append(subject.slots(0))
        answered(subject, *[OK] * subject.slots(0), began=moment)
    assert limits == [1, 2, 4, 8, 16, 32, 32]


@pytest.mark.parametrize("answer", OVERLOADED, ids=lambda each: each.reason)
def test_too_much_halves_it_once_for_a_round(answer: Answer) -> None:
    """All that were under way say the same; then each round brings one more, until it is too much again."""
    subject = lane(limit=16.0)
    answered(subject, *[answer] * 8, began=1)
    assert subject.slots(0) == 8
    for moment in range(2, 6):
        answered(subject, *[OK] * subject.slots(0), began=moment)
    assert 11 <= subject.slots(0) <= 12
    answered(subject, answer, began=7)
    assert subject.slots(0) in (5, 6)


def test_slow_answers_are_too_many() -> None:
    """Good, but after half of the time that they may take: they are a success, and the customer has enough to do."""
    subject = lane(limit=8.0, failures=3)
    answered(subject, OK, seconds=5.0)
    assert (subject.slots(0), subject.failures, subject.is_proven) == (4, 0, False)
    answered(subject, OK, began=9.0, seconds=4.9)
    assert subject.is_proven


def test_it_never_ends_at_nothing() -> None:
    """Else nobody would ever see that it is well again."""
    subject = lane(failures=-100)
    for moment in range(50):
        answered(subject, OVERLOADED[0], began=moment)
    assert subject.slots(0) == 1


def test_a_refusal_says_nothing_of_how_much_is_too_much() -> None:
    """A failure it is."""
    subject = lane(limit=8.0)
    answered(subject, REFUSED, Answer(404, "404"))
    assert (subject.slots(0), subject.failures, subject.is_proven) == (8, 2, False)


def test_ten_failures_in_a_row_open_the_breaker() -> None:
    """Nine do not; then one attempt at a time may go, and nothing is kept in memory."""
    subject = lane(limit=8.0)
    answered(subject, *[REFUSED] * 9, OK, *[REFUSED] * 9)
    assert (subject.is_open, subject.slots(0) > 1, subject.is_eager(0)) == (False, True, True)
    answered(subject, REFUSED)
    assert (subject.is_open, subject.slots(0), subject.is_eager(0)) == (True, 1, False)


def test_what_was_in_flight_as_the_breaker_opened_counts_no_more() -> None:
    """Probes alone do: else a customer that was away for seconds would be asked again after ten minutes."""
    subject = lane(failures=FAILURES_OPEN - 1)
    for is_probe in (False, False, False, True, True):
        subject.answered(REFUSED, began=0, ended=1, is_probe=is_probe)
    assert subject.failures == FAILURES_OPEN + 2


def test_a_success_closes_the_breaker_and_it_grows_from_one() -> None:
    """It doubles again, whatever was too much before."""
    subject = lane(limit=8.0, failures=FAILURES_OPEN - 1)
    answered(subject, *[OVERLOADED[2]] * 3)
    assert subject.slots(0) == 1
    answered(subject, OK, began=5)
    assert (subject.is_open, subject.slots(0), subject.is_proven) == (False, 2, True)
    answered(subject, OK, OK, began=6)
    assert subject.slots(0) == 4


def test_nothing_goes_while_it_is_stopped_or_held() -> None:
    """To the millisecond."""
    assert lane(is_stopped=True).slots(10**15) == 0
    held = lane(resume_at_ms=1_000)
    assert [held.slots(at) for at in (999, 1_000)] == [0, 1]
    assert [held.is_eager(at) for at in (999, 1_000)] == [False, True]
    assert not lane(is_stopped=True).is_eager(10**15)


def test_slots_are_what_is_left() -> None:
    """Never fewer than none, though the limit shrank below what is in flight."""
    assert [lane(limit=3.9, in_flight=each).slots(0) for each in (0, 2, 3, 9)] == [3, 1, 0, 0]
    assert [lane(failures=99, limit=8.0, in_flight=each).slots(0) for each in (0, 1)] == [1, 0]


def test_who_is_behind_keeps_nothing_new_in_memory() -> None:
    """What is older goes first; nor more than fits."""
    [batch] = batches("a")
    assert not lane(is_behind=True).is_eager(0)
    subject = lane()
    subject.fresh.extend([(DueBatch(batch, "c", 0, 0), 1.0)] * FRESH_BATCHES_MAX)
    assert not subject.is_eager(0)
    subject.fresh.pop()
    assert subject.is_eager(0)


def test_it_hears_what_other_processes_learned() -> None:
    """Failures, holds and stops; also that they are over."""
    subject = lane()
    subject.hear(Lane("w", failures=12, failing_since_ms=5, resume_at_ms=9, stopped_at_ms=7))
    assert (subject.failures, subject.failing_since_ms, subject.resume_at_ms, subject.is_stopped) == (12, 5, 9, True)
    subject.hear(Lane("w"))
    assert (subject.failures, subject.failing_since_ms, subject.resume_at_ms, subject.is_stopped) == (0, None, 0, False)


def test_what_is_under_way_here_is_not_forgotten() -> None:
    """An answer of which the outbox has not heard yet: its hold and its stop stand, and longer ones are heard."""
    subject = lane(in_flight=1, failures=4, resume_at_ms=50, is_stopped=True)
    subject.hear(Lane("w", failures=1, resume_at_ms=20))
    assert (subject.failures, subject.resume_at_ms, subject.is_stopped) == (4, 50, True)
    subject.hear(Lane("w", resume_at_ms=80))
    assert subject.resume_at_ms == 80


def test_a_hold_of_a_wrong_clock_is_none() -> None:
    """Nobody holds for two hours; who is told to wait for a year would never be tried again."""
    held, wrong = lane(resume_at_ms=3_600_000), lane(resume_at_ms=365 * 86_400_000)
    assert (held.slots(1), held.slots(3_600_000), wrong.slots(1)) == (0, 1, 1)
    assert (held.is_free(1), wrong.is_free(1)) == (False, True)


def test_a_restart_makes_nobody_a_stranger() -> None:
    """What the outbox remembers counts until this process knows better."""
    well, never, failed = lane(), lane(), lane()
    well.hear(Lane("w", succeeded_at_ms=5, failed_at_ms=4))
    never.hear(Lane("w"))
    failed.hear(Lane("w", succeeded_at_ms=3, failed_at_ms=4, failures=1))
    assert [each.is_proven for each in (well, never, failed)] == [True, False, False]
    answered(well, OVERLOADED[2])
    well.hear(Lane("w", succeeded_at_ms=5))
    assert not well.is_proven
