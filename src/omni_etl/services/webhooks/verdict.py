"""Verdict: what follows from a customer's answer; pure but for its dice.

2xx is success, 410 stops the webhook, a refused batch (400, 413, 422) is split until the event that spoils it stands alone and
something else was taken, and everything else is tried again by the webhook's schedule.
"""

from __future__ import annotations

import random
from http import HTTPStatus
from typing import Final

import msgspec

from omni_etl.backoff import Backoff
from omni_etl.outbox import FAILURES_OPEN, HOLD_SECONDS_MAX, Batch, DueBatch, Verdict, failures_after, half_ids
from omni_etl.poster import Answer
from omni_etl.services.webhooks.lane import WebhookLane
from omni_etl.webhook import RetrySchedule

# Seconds between attempts. `standard`: as Standard Webhooks proposes, some 75 hours. `sparkpost`: 12 attempts within 8
# hours, as SparkPost makes them; it publishes no times.
SCHEDULES: Final[dict[RetrySchedule, tuple[int, ...]]] = {
    "standard": (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400),
    "sparkpost": (5, 30, 120, 300, 600, 1_200, 2_400, 3_600, 5_400, 6_300, 6_600),
}
JITTER_SHARE: Final = 0.05  # either way; `sparkpost` stays under 8 hours, the attempts themselves included

REFUSED: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, 422})
RETRYABLE: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
SERVER_ERRORS: Final = range(500, 600)
PROBES: Final = Backoff(first_seconds=30.0, wait_seconds_max=600.0)  # while the breaker is open
STOP_AFTER_MS: Final = 5 * 86_400_000  # without a success,
STOP_AFTER_FAILURES: Final = 20  # and at least so many attempts
EXCERPT_CHARACTERS_MAX: Final = 500


def judge(
    due: DueBatch, answer: Answer, *, lane: WebhookLane, schedule: RetrySchedule, now_ms: int, rng: random.Random
) -> Verdict:
    """What is written down. `lane` as it was before this answer; without its latency, which the caller knows."""
    if answer.ok:
        return Verdict(kind="delivered", answer=answer.reason)
    excerpt = excerpt_of(answer)
    if answer.status == HTTPStatus.GONE:
        reason = "the customer answered 410 Gone"
        return Verdict(kind="retry", answer=answer.reason, excerpt=excerpt, stop_reason=reason)
    if answer.status in REFUSED and not due.is_probe and not lane.is_open:
        if due.batch.event_count > 1:
            return Verdict(kind="split", answer=answer.reason, excerpt=excerpt, halves=halves_of(due.batch))
        if due.batch.parent_id is not None and lane.succeeded_at_ms >= due.cut_at_ms:  # it takes others
            return Verdict(kind="given_up", answer=f"refused alone: {answer.reason}", excerpt=excerpt)
    return _again(due, answer, lane=lane, schedule=schedule, now_ms=now_ms, rng=rng)


def _again(
    due: DueBatch, answer: Answer, *, lane: WebhookLane, schedule: RetrySchedule, now_ms: int, rng: random.Random
) -> Verdict:
    waits, attempts = SCHEDULES[schedule], due.attempts + 1
    asked_seconds = min(answer.retry_after_seconds or 0.0, HOLD_SECONDS_MAX) if _is_retryable(answer) else 0.0
    failures = failures_after(lane.failures, is_probe=due.is_probe)
    hold_seconds = asked_seconds
    if failures >= FAILURES_OPEN:
        hold_seconds = max(hold_seconds, PROBES.wait_seconds(failures - FAILURES_OPEN + 1, rng))
    stop_reason = _stop_reason(lane.failing_since_ms, failures, now_ms)
    excerpt = excerpt_of(answer)
    if due.is_probe:
        return Verdict(
            kind="retry", answer=answer.reason, excerpt=excerpt, hold_seconds=hold_seconds, stop_reason=stop_reason
        )
    if attempts > len(waits):
        return Verdict(
            kind="given_up", answer=answer.reason, excerpt=excerpt, hold_seconds=hold_seconds, stop_reason=stop_reason
        )
    wait_seconds = waits[attempts - 1] * rng.uniform(1 - JITTER_SHARE, 1 + JITTER_SHARE)
    return Verdict(
        kind="retry",
        answer=answer.reason,
        excerpt=excerpt,
        retry_in_seconds=max(wait_seconds, asked_seconds),
        hold_seconds=hold_seconds,
        stop_reason=stop_reason,
    )


def stops_at_ms(failing_since_ms: int | None) -> int | None:
    """When a webhook that goes on failing is stopped; None: it does not fail."""
    return None if failing_since_ms is None else failing_since_ms + STOP_AFTER_MS


def halves_of(batch: Batch) -> tuple[Batch, Batch]:
    """New bytes, so new ids, that come from the batch's: split again after a crash they are the same."""
    elements = _elements.decode(batch.body)
    middle = (len(elements) + 1) // 2
    first_id, second_id = half_ids(batch.id)
    return _half(batch, first_id, elements[:middle]), _half(batch, second_id, elements[middle:])


def excerpt_of(answer: Answer) -> str:
    """The beginning of what the customer said, for people to read."""
    return answer.body[: 4 * EXCERPT_CHARACTERS_MAX].decode(errors="replace").replace("\0", "")[:EXCERPT_CHARACTERS_MAX]


def _half(batch: Batch, half_id: str, elements: list[msgspec.Raw]) -> Batch:
    return Batch(
        id=half_id,
        webhook_id=batch.webhook_id,
        target=batch.target,
        headers=batch.headers,
        body=b"[%b]" % b",".join(map(bytes, elements)),
        event_count=len(elements),
        parent_id=batch.id,
    )


def _is_retryable(answer: Answer) -> bool:
    return answer.status in RETRYABLE or answer.status in SERVER_ERRORS


def _stop_reason(failing_since_ms: int | None, failures: int, now_ms: int) -> str | None:
    if failing_since_ms is None or failures < STOP_AFTER_FAILURES or now_ms - failing_since_ms < STOP_AFTER_MS:
        return None
    return f"no success in 5 days and {failures} attempts"


_elements: Final = msgspec.json.Decoder(list[msgspec.Raw])
