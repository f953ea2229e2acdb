"""Outbox: what was cut for customers and is not yet delivered or given up; the contract.

Events wait here as *segments*, less than a batch each, until they are joined into a *batch*: from then on one id and the
same bytes for ever. A *lane* is what the outbox knows of one webhook: how much waits, and how its attempts went.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol
from uuid import UUID, uuid5

from omni_etl.envelope import Envelope

# For which a customer may hold its webhook, by Retry-After; machines may differ by as much again.
HOLD_SECONDS_MAX: Final = 3_600
FAILURES_OPEN: Final = 10  # in a row, and a webhook's breaker is open: it gets a probe a while, and nothing else
HALVES_NAMESPACE: Final = UUID("c1b0c0de-3a57-4d0c-9a44-5f1c6f0e2b90")  # random, fixed for ever


def failures_after(failures: int, *, is_probe: bool) -> int:
    """In a row, with one more. Once the breaker is open probes alone count: what was in flight lengthens no pause."""
    return failures + (is_probe or failures < FAILURES_OPEN)


def half_ids(batch_id: str) -> tuple[str, str]:
    """Of the two batches into which this one is split; split again after a crash, or looked for by who erases, they are the same."""
    return str(uuid5(HALVES_NAMESPACE, f"{batch_id}/0")), str(uuid5(HALVES_NAMESPACE, f"{batch_id}/1"))


def held_until_ms(resume_at_ms: int, *, now_ms: float) -> int:
    """Until when nothing is tried, or 0: it is over, or further away than anybody holds; the clock was wrong as it was written."""
    return resume_at_ms if 0 < resume_at_ms - now_ms <= 2 * HOLD_SECONDS_MAX * 1000 else 0


@dataclass(frozen=True, slots=True)
class Batch:
    """An immutable set of events for one webhook."""

    id: str
    webhook_id: str
    target: str  # as the webhook was when the batch was closed
    headers: Mapping[str, str]  # custom headers, likewise; secrets are read at the attempt
    body: bytes  # the JSON array as it is sent
    event_count: int
    parent_id: str | None = None  # of the batch whose bytes these were, where one was split or sent again


@dataclass(frozen=True, slots=True)
class Segment:
    """Events of one envelope for one webhook, too few for a batch."""

    webhook_id: str
    name: str  # of envelope and webhook; the first one names the batch
    elements: bytes  # of the JSON array, with commas between them
    event_count: int


@dataclass(frozen=True, slots=True)
class Cut:
    """What one envelope is for all webhooks."""

    batches: Sequence[Batch] = ()
    segments: Sequence[Segment] = ()


@dataclass(frozen=True, slots=True)
class OpenSegments:
    """What waits to be closed for one webhook."""

    webhook_id: str
    event_count: int
    element_bytes: int
    oldest_at_ms: int


@dataclass(frozen=True, slots=True)
class Closing:
    """How a webhook's segments become batches."""

    webhook_id: str
    target: str
    headers: Mapping[str, str]
    events_max: int
    is_everything: bool  # else what does not fill a batch waits on
    is_claimed: bool  # by who closes: it tries them at once


@dataclass(frozen=True, slots=True)
class DueBatch:
    """A batch claimed for one attempt."""

    batch: Batch
    claim: str  # fences the claim: a lapsed one changes nothing
    attempts: int  # attempts made before this one
    cut_at_ms: int
    is_probe: bool = False  # sent to learn whether the customer is back; it uses up no attempt


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many batches of a webhook to claim."""

    fresh: int = 0
    retries: int = 0
    is_probe: bool = False  # one, and a small one


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How an attempt ended, and what follows for the batch and for its webhook's lane."""

    kind: Literal["delivered", "retry", "given_up", "split"]
    answer: str  # a status, or the reason why none came
    latency_ms: int = 0
    retry_in_seconds: float = 0.0
    hold_seconds: float = 0.0  # no attempt for this webhook before that
    stop_reason: str | None = None  # no attempt at all, until someone says so
    halves: tuple[Batch, ...] = ()
    excerpt: str = field(default="", repr=False)  # of the answer's body


@dataclass(frozen=True, slots=True)
class Lane:
    """What is known of one webhook for which something waits, or waited."""

    webhook_id: str
    waiting_batches: int = 0
    waiting_events: int = 0  # those in segments too
    waiting_bytes: int = 0  # as they are kept, compressed
    delivered_batches: int = 0
    delivered_events: int = 0
    given_up_batches: int = 0
    given_up_events: int = 0
    dropped_events: int = 0  # by the limit of the backlog, or because the webhook was deleted before they were closed
    failures: int = 0  # in a row
    failing_since_ms: int | None = None
    succeeded_at_ms: int | None = None
    failed_at_ms: int | None = None
    resume_at_ms: int = 0  # no attempt before that
    stopped_at_ms: int | None = None
    stopped_reason: str | None = None


@dataclass(frozen=True, slots=True)
class DueLane:
    """A lane in which batches wait or that is stopped, and since when the first of each kind is due; None: there is none."""

    lane: Lane
    fresh_due_at_ms: int | None
    retry_due_at_ms: int | None


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """How much lies where, of all webhooks."""

    waiting_batches: int
    waiting_events: int
    delivered_batches: int
    delivered_events: int
    given_up_batches: int
    given_up_events: int
    dropped_events: int = 0


@dataclass(frozen=True, slots=True)
class Dropped:
    """What a limit took."""

    batches: int
    events: int


class Outbox(Protocol):
    """Every method raises `UnavailableError` when the database is away."""

    async def open(self) -> None:
        """Connect and migrate."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    async def put(
        self, envelope: Envelope, cut: Cut, *, eager: Collection[str] = (), claim_seconds: int = 0
    ) -> list[DueBatch] | None:
        """Ledger row, batches and segments in one transaction; None where the ledger knew the envelope: nothing is written.

        Batches of `eager` webhooks are claimed from the beginning, for who will try them at once, and given back.

        Raises:
            IdConflictError: known with another checksum.

        """
        ...

    async def open_segments(self) -> Sequence[OpenSegments]:
        """What waits to be closed."""
        ...

    async def join(self, closings: Sequence[Closing], *, claim_seconds: int) -> list[DueBatch]:
        """Join segments into batches; the claimed ones. Segments that someone else is closing are left to them."""
        ...

    async def drop_segments(self, webhook_id: str) -> int:
        """Of a webhook that is no more; how many events."""
        ...

    async def due(self) -> Sequence[DueLane]:
        """Lanes in which batches wait, or that are stopped."""
        ...

    async def claim(self, wanted: Mapping[str, Wanted], *, claim_seconds: int) -> list[DueBatch]:
        """Take batches whose time has come, oldest first; each is ours for `claim_seconds`."""
        ...

    async def release(self, claimed: Sequence[DueBatch]) -> None:
        """Give back what was claimed and not tried: due now, at its old place. Where the claim no longer holds, nothing."""
        ...

    async def settle(self, due: DueBatch, verdict: Verdict) -> bool:
        """Write down how the attempt ended. False where the claim had lapsed and someone else decided."""
        ...

    async def drop_overflow(self, webhook_id: str, *, bytes_max: int, cut_after_ms: int) -> Dropped:
        """Oldest first: what waits beyond `bytes_max`, and what was cut before. A bounded step; to be repeated while it drops."""
        ...

    async def tidy(self) -> None:
        """What is old leaves, and what a clock that was wrong for a while put off is due: a bounded step, to be repeated."""
        ...

    async def stop(self, webhook_id: str, reason: str) -> None:
        """No more attempts for it; its events are kept as before."""
        ...

    async def counts(self) -> OutboxCounts:
        """How much lies where, kept as counters."""
        ...
