"""Outbox: what was cut for customers and is not yet delivered or given up; the contract.

Events wait here as *segments*, less than a batch each, until they are joined into a *batch*: from then on one id and the
same bytes for ever. A *lane* is what the outbox knows of one webhook: how much waits, and how its attempts went.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from omni_etl.envelope import Envelope

FAILURES_OPEN: Final = 10  # in a row, and a webhook's breaker is open: it gets a probe a while, and nothing else


def failures_after(failures: int, *, is_probe: bool) -> int:
    """In a row, with one more. Once the breaker is open probes alone count: what was in flight lengthens no pause."""
    return failures + (is_probe or failures < FAILURES_OPEN)


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


@dataclass(frozen=True, slots=True)
class Trouble:
    """A batch that failed at least once, as it was after its last attempt."""

    batch_id: str
    event_count: int
    attempts: int  # that failed
    answer: str  # of the last one: a status, or the reason why none came
    is_delivered: bool
    latency_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class AttemptNote:
    """One attempt, as it is kept for a while."""

    batch_id: str
    event_count: int
    number: int  # from 1; a probe has the number of the attempt that it did not use up
    at_ms: int
    latency_ms: int
    kind: str  # of its verdict
    answer: str
    excerpt: str
    next_at_ms: int | None


class Deliveries(Protocol):
    """What became of attempts, for people to see. Every method raises `UnavailableError` when the database is away."""

    async def open(self) -> None:
        """Connect and migrate."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    async def lanes(self, webhook_ids: Collection[str]) -> Mapping[str, Lane]:
        """Of those for which there ever was a batch."""
        ...

    async def oldest(self, webhook_ids: Collection[str]) -> Mapping[str, int]:
        """When the batch that waits for longest was cut, in ms; of those for which one waits."""
        ...

    async def waiting(self) -> Sequence[Lane]:
        """Of all webhooks for which something waits, or that are stopped."""
        ...

    async def troubles(self, webhook_id: str, *, count_max: int) -> Sequence[Trouble]:
        """Of the last 24 hours, newest first. A batch that went through at once was no trouble."""
        ...

    async def attempts(
        self, webhook_id: str, *, count_max: int, batch_id: str | None = None, before_ms: int | None = None
    ) -> Sequence[AttemptNote]:
        """Newest first, those of the last day or so."""
        ...

    async def stop(self, webhook_id: str, reason: str) -> None:
        """No more attempts for it; its events are kept as before."""
        ...

    async def resume(self, webhook_id: str) -> bool:
        """Attempts again, from where they stopped, and as if none had failed. False where nothing held them up."""
        ...

    async def retry(self, webhook_id: str, *, count_max: int) -> int:
        """Try now what was given up, as if it were fresh, and what waits for its next attempt; up to so many of each, how many."""
        ...


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

    async def stop(self, webhook_id: str, reason: str) -> None:
        """See `Deliveries.stop`."""
        ...

    async def counts(self) -> OutboxCounts:
        """How much lies where, kept as counters."""
        ...
