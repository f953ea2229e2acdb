"""services.webhooks.verdict: what follows from an answer."""

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_etl.outbox import FAILURES_OPEN, HOLD_SECONDS_MAX, Batch, DueBatch, Verdict
from omni_etl.poster import Answer
from omni_etl.services.webhooks.lane import WebhookLane
from omni_etl.services.webhooks.verdict import (
    EXCERPT_CHARACTERS_MAX,
    JITTER_SHARE,
    SCHEDULES,
    STOP_AFTER_FAILURES,
    STOP_AFTER_MS,
    halves_of,
    judge,
    stops_at_ms,
)
from omni_etl.webhook import RetrySchedule

NOW_MS = 1_700_000_000_000
HOUR = 3_600
REFUSALS = [400, 413, 422]
RETRYABLE = [408, 425, 429, 500, 502, 503, 504, 599]
OTHERS = [300, 302, 401, 403, 404, 409, 418, 499, 600]


def batch(count: int = 3, *, parent_id: str | None = None) -> Batch:
    """Of so many events, each its own number."""
    body = json.dumps(list(range(count)), separators=(",", ":")).encode()
    return Batch("b", "w", "https://x.test/", {"X-One": "1"}, body, count, parent_id)


def due(count: int = 3, *, attempts: int = 0, is_probe: bool = False, parent_id: str | None = None) -> DueBatch:
    """A claimed one, after so many attempts."""
    return DueBatch(batch(count, parent_id=parent_id), "c", attempts, 0, is_probe=is_probe)


def verdict(
    answer: Answer | int | None,
    of: DueBatch | None = None,
    *,
    failures: int = 0,
    failing_since_ms: int | None = None,
    schedule: RetrySchedule = "standard",
    seed: int = 0,
) -> Verdict:
    """For a webhook after so many failures in a row; an answer, or its status, or a time-out."""
    if not isinstance(answer, Answer):
        answer = Answer(answer, "timeout after 10 s" if answer is None else str(answer))
    lane = WebhookLane("w", 32, 10.0, failures=failures, failing_since_ms=failing_since_ms)
    return judge(of or due(), answer, lane=lane, schedule=schedule, now_ms=NOW_MS, rng=random.Random(seed))


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_success(status: int) -> None:
    """Also for a probe, and after the last attempt."""
    for of in (due(), due(is_probe=True), due(attempts=99)):
        assert verdict(status, of, failures=30, failing_since_ms=0) == Verdict(kind="delivered", answer=str(status))


@pytest.mark.parametrize("status", [*RETRYABLE, *OTHERS, None])
def test_everything_else_is_tried_again_within_the_schedule(status: int | None) -> None:
    """Other 4xx too, as at SparkPost, and redirects: they are followed by nobody."""
    found = verdict(status)
    assert (found.kind, found.stop_reason, found.hold_seconds) == ("retry", None, 0.0)
    assert 4.75 <= found.retry_in_seconds <= 5.25
    assert found.answer == ("timeout after 10 s" if status is None else str(status))
    assert verdict(status, due(attempts=9)).kind == "given_up"


@pytest.mark.parametrize(
    ("schedule", "attempts", "least_hours", "most_hours"), [("standard", 10, 74, 77), ("sparkpost", 12, 6.5, 7.5)]
)
def test_a_schedule_ends(schedule: RetrySchedule, attempts: int, least_hours: float, most_hours: float) -> None:
    """So many attempts within so many hours; SparkPost's within eight, with the longest jitter and ten seconds for each."""
    waits = SCHEDULES[schedule]
    assert len(waits) + 1 == attempts
    assert least_hours * HOUR < sum(waits) < most_hours * HOUR
    assert list(waits) == sorted(waits)
    kinds = [verdict(500, due(attempts=made), schedule=schedule).kind for made in range(attempts)]
    assert kinds == ["retry"] * (attempts - 1) + ["given_up"]
    if schedule == "sparkpost":
        assert sum(waits) * (1 + JITTER_SHARE) + attempts * 10 < 8 * HOUR


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(0, 8), st.integers())
def test_waits_are_jittered_within_bounds(schedule: RetrySchedule, made: int, seed: int) -> None:
    """Five of a hundred, either way."""
    wait = SCHEDULES[schedule][made]
    found = verdict(503, due(attempts=made), schedule=schedule, seed=seed).retry_in_seconds
    assert wait * (1 - JITTER_SHARE) <= found <= wait * (1 + JITTER_SHARE)


def test_those_who_failed_together_part_ways() -> None:
    """No two dice, no two times."""
    assert len({verdict(503, seed=seed).retry_in_seconds for seed in range(50)}) == 50


@pytest.mark.parametrize("status", RETRYABLE)
def test_retry_after_prolongs_only(status: int) -> None:
    """More time than the table gives, an hour at most, for the batch and for the webhook; never less time."""
    for asked, least, most in ((0.0, 4.75, 5.25), (2.0, 4.75, 5.25), (60.0, 60, 60), (1e9, HOUR, HOUR)):
        found = verdict(Answer(status, "x", retry_after_seconds=asked))
        assert least <= found.retry_in_seconds <= most
        assert found.hold_seconds == min(asked, HOLD_SECONDS_MAX)
    last = verdict(Answer(status, "x", retry_after_seconds=60.0), due(attempts=9))
    assert (last.kind, last.hold_seconds) == ("given_up", 60.0)


@pytest.mark.parametrize("status", [*OTHERS, 410])
def test_retry_after_is_not_heard_elsewhere(status: int) -> None:
    """A page that does not exist has no opening hours."""
    found = verdict(Answer(status, "x", retry_after_seconds=900.0))
    assert found.retry_in_seconds <= 5.25
    assert found.hold_seconds == 0.0


def test_gone_stops_the_webhook() -> None:
    """And the batch is kept, for whoever says go; whatever attempt it was."""
    for of in (due(), due(attempts=9), due(is_probe=True)):
        found = verdict(410, of)
        assert (found.kind, found.stop_reason) == ("retry", "the customer answered 410 Gone")


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refused_batch_is_split(status: int) -> None:
    """Into halves, whatever was tried before."""
    found = verdict(status, due(5, attempts=9))
    assert (found.kind, found.answer) == ("split", str(status))
    assert [each.body for each in found.halves] == [b"[0,1,2]", b"[3,4]"]
    assert found.stop_reason is None


@pytest.mark.parametrize("status", REFUSALS)
def test_the_event_that_spoilt_a_batch_is_parked_at_once(status: int) -> None:
    """The others of its batch went through, so it is the event; one that came alone may be the customer's bad day."""
    found = verdict(status, due(1, parent_id="whole"))
    assert (found.kind, found.answer) == ("given_up", f"refused alone: {status}")
    assert verdict(status, due(1)).kind == "retry"
    assert verdict(status, due(1, attempts=9)).kind == "given_up"


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("of", [due(100), due(1, parent_id="whole")])
def test_who_refuses_everything_splits_and_parks_nothing(status: int, of: DueBatch) -> None:
    """Not while the breaker is open, nor for a probe: it is not the batch."""
    assert verdict(status, of, failures=FAILURES_OPEN).kind == "retry"
    assert verdict(status, replace(of, is_probe=True)).kind == "retry"
    assert verdict(status, of, failures=FAILURES_OPEN - 1).kind in {"split", "given_up"}


@given(st.integers(2, 200), st.sampled_from([1, 7, 1000]))
def test_halves_are_the_whole(count: int, size: int) -> None:
    """Every event once, in order, byte for byte; new ids, that name the parent and are the same after a crash."""
    elements = [b'{ "n":%d,"x":"%b"}' % (number, b"\xc3\xbc" * size) for number in range(count)]
    whole = replace(batch(), body=b"[%b]" % b",".join(elements), event_count=count)
    first, second = halves_of(whole)
    assert first.body[:-1] + b"," + second.body[1:] == whole.body
    assert (first.event_count + second.event_count, first.event_count - second.event_count) == (count, count % 2)
    assert len({first.id, second.id, whole.id}) == 3
    assert {each.parent_id for each in (first, second)} == {whole.id}
    assert {(each.webhook_id, each.target, str(each.headers)) for each in (first, second, whole)} == {
        ("w", whole.target, str(whole.headers))
    }
    assert halves_of(whole) == (first, second)


def test_the_breaker_opens_for_half_a_minute_and_then_longer() -> None:
    """Thirty seconds, doubled by each probe up to ten minutes; jittered between half and all of it."""
    assert verdict(500, failures=FAILURES_OPEN - 2).hold_seconds == 0
    assert 15 <= verdict(500, failures=FAILURES_OPEN - 1).hold_seconds <= 30
    for probes, seconds in enumerate((60, 120, 240, 480, 600, 600), start=FAILURES_OPEN):
        holds = [verdict(500, due(is_probe=True), failures=probes, seed=seed).hold_seconds for seed in range(50)]
        assert seconds / 2 <= min(holds) < max(holds) <= seconds
        assert len(set(holds)) == 50


def test_what_was_in_flight_as_it_opened_lengthens_no_pause() -> None:
    """However many they were."""
    assert verdict(500, failures=FAILURES_OPEN).hold_seconds <= 30


def test_a_probe_uses_up_no_attempt() -> None:
    """It is tried again as soon as the webhook may be, however often that was."""
    found = verdict(500, due(is_probe=True, attempts=99), failures=FAILURES_OPEN)
    assert (found.kind, found.retry_in_seconds) == ("retry", 0.0)


def test_who_asks_for_more_time_than_the_breaker_gets_it() -> None:
    """And who asks for less does not."""
    for asked, least, most in ((900.0, 900, 900), (1.0, 15, 30)):
        answer = Answer(503, "503", retry_after_seconds=asked)
        assert least <= verdict(answer, failures=FAILURES_OPEN - 1).hold_seconds <= most


@pytest.mark.parametrize("is_probe", [False, True])
def test_five_days_and_enough_attempts_stop_a_webhook(*, is_probe: bool) -> None:
    """Both: a webhook that was asked little is not stopped, nor one that failed often in an hour."""
    since_ms = NOW_MS - STOP_AFTER_MS
    enough = STOP_AFTER_FAILURES - 1  # with this one
    for failures, since, is_stopped in (
        (enough, since_ms, is_probe),
        (enough, since_ms + 1, False),
        (enough - 1, since_ms, False),
        (enough, None, False),
        (10_000, since_ms, True),
    ):
        found = verdict(500, due(is_probe=is_probe), failures=failures, failing_since_ms=since)
        assert (found.kind, found.stop_reason is not None) == ("retry", is_stopped)
    assert stops_at_ms(since_ms) == NOW_MS
    assert stops_at_ms(None) is None


def test_what_the_customer_said_is_kept_in_short() -> None:
    """Whatever the bytes: text that a database takes."""
    said = verdict(Answer(500, "500", body=b"\xff\0" + "ü".encode() * 5_000))
    assert len(said.excerpt) == EXCERPT_CHARACTERS_MAX
    assert said.excerpt.startswith("\ufffdü")
