"""Lane: how much one webhook may have in flight, and when nothing at all; pure.

Concurrency grows with every success and halves where the customer is overloaded, once for each round, as TCP does. After
`FAILURES_OPEN` failures in a row the breaker is open: one small batch a while asks whether the customer is back, and what waits, waits.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from omni_etl.outbox import FAILURES_OPEN, DueBatch, Lane, failures_after, held_until_ms
from omni_etl.poster import Answer

SLOW_SHARE: Final = 0.5  # of the time that an attempt may take: who is slower has enough to do
FRESH_BATCHES_MAX: Final = 256  # of one webhook, tried from memory
OVERLOADED: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


@dataclass(slots=True, eq=False)
class WebhookLane:
    """One webhook, as this process delivers to it. What all processes know of it is `Lane`, heard at each look."""

    webhook_id: str
    limit_max: int
    attempt_seconds_max: float
    account: int | None = None  # the subaccount whose share it takes; None: the primary account's
    limit: float = 1.0
    threshold: float = math.inf  # half of what was too much last; below it the limit doubles with each round
    shrunk_at: float = -math.inf  # by the monotonic clock
    in_flight: int = 0  # slots that are taken, those for which a claim is under way included
    failures: int = 0
    failing_since_ms: int | None = None
    succeeded_at_ms: int = 0  # the last time, as far as it is known
    is_known: bool = False  # it answered this process, or let it wait
    is_proven: bool = False  # the last answer was a good one, and in time as far as it is known
    is_stopped: bool = False
    resume_at_ms: int = 0
    is_behind: bool = False  # more is due in the outbox, and older than what comes
    row: deque[WebhookLane] | None = field(
        default=None, repr=False, compare=False
    )  # where it stands with what it has to send
    is_hungry: bool = False  # more is due in the outbox, and the last look found no slot that it might have
    fresh: deque[tuple[DueBatch, float]] = field(default_factory=deque)  # claimed, with the end of the claim
    notices: int = 0  # how often it was said that this webhook fails

    @property
    def is_open(self) -> bool:
        """Whether the breaker is: nothing goes but probes."""
        return self.failures >= FAILURES_OPEN

    def hear(self, lane: Lane) -> None:
        """What the outbox says; it may not have heard yet of what is under way here."""
        is_stopped = lane.stopped_at_ms is not None
        if not self.is_known:  # by this process: a restart makes nobody a stranger
            self.is_proven = lane.succeeded_at_ms is not None and not lane.failures
        self.failing_since_ms = lane.failing_since_ms
        self.succeeded_at_ms = max(self.succeeded_at_ms, lane.succeeded_at_ms or 0)
        if self.in_flight:
            self.is_stopped = self.is_stopped or is_stopped
            self.resume_at_ms = max(self.resume_at_ms, lane.resume_at_ms)
        else:
            self.is_stopped, self.resume_at_ms, self.failures = is_stopped, lane.resume_at_ms, lane.failures

    def slots(self, now_ms: float) -> int:
        """How many more attempts may begin now."""
        if self.is_stopped or held_until_ms(self.resume_at_ms, now_ms=now_ms):
            return 0
        return max(0, (1 if self.is_open else math.floor(self.limit)) - self.in_flight)

    def is_eager(self, now_ms: float) -> bool:
        """Whether what is cut for it now would go at once, or after what stands before it in memory."""
        return not self.is_behind and self.is_free(now_ms) and len(self.fresh) < FRESH_BATCHES_MAX

    def is_free(self, now_ms: float) -> bool:
        """Whether anything but a probe may go now."""
        return not self.is_open and not self.is_stopped and not held_until_ms(self.resume_at_ms, now_ms=now_ms)

    def answered(self, answer: Answer, *, began: float, ended: float, is_probe: bool) -> None:
        """Grow or shrink: doubling until something was too much, then one more for each round."""
        self.is_known = True
        is_slow = ended - began >= SLOW_SHARE * self.attempt_seconds_max
        is_overloaded = answer.status in OVERLOADED or answer.status is None or is_slow
        if answer.ok:
            self.failures, self.failing_since_ms = 0, None
        else:
            self.failures = failures_after(self.failures, is_probe=is_probe)
        if self.is_open:
            self.limit, self.threshold = 1.0, math.inf
        elif is_overloaded and began >= self.shrunk_at:  # what began before says the same of the same round
            self.limit = self.threshold = max(1.0, self.limit / 2)
            self.shrunk_at = ended
        elif answer.ok and not is_overloaded:
            more = 1.0 if self.limit < self.threshold else 1.0 / self.limit
            self.limit = min(self.limit_max, self.limit + more)
        self.is_proven = answer.ok and not is_overloaded
