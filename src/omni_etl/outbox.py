"""Outbox: batches that were cut for customers and not yet delivered or given up; the contract."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from omni_etl.envelope import Envelope

BATCH_EVENTS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Batch:
    """An immutable set of events for one webhook: one id and the same bytes for ever."""

    id: str
    webhook_id: str
    target: str  # as the webhook was when the batch was cut
    headers: Mapping[str, str]  # custom headers, likewise; secrets are read at the attempt
    body: bytes  # the JSON array as it is sent
    event_count: int


@dataclass(frozen=True, slots=True)
class DueBatch:
    """A batch claimed for one attempt."""

    batch: Batch
    claim: str  # fences the claim: a lapsed one changes nothing
    attempts: int  # attempts made before this one
    cut_at_ms: int


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """How much lies where."""

    waiting_batches: int
    waiting_events: int
    delivered_batches: int
    delivered_events: int
    given_up_batches: int
    given_up_events: int


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
class LastAttempts:
    """When a webhook's attempts last succeeded and failed; None: never."""

    succeeded_at_ms: int | None = None
    failed_at_ms: int | None = None


class Deliveries(Protocol):
    """What became of attempts, for the customer to see. Every method raises `UnavailableError` when the database is away."""

    async def open(self) -> None:
        """Connect and migrate."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    async def last(self, webhook_ids: Collection[str]) -> Mapping[str, LastAttempts]:
        """Of those that had an attempt."""
        ...

    async def troubles(self, webhook_id: str, *, count_max: int) -> Sequence[Trouble]:
        """Of the last 24 hours, newest first. A batch that went through at once was no trouble."""
        ...


class Outbox(Protocol):
    """Every method raises `UnavailableError` when the database is away."""

    async def open(self) -> None:
        """Connect and migrate."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    async def put(self, envelope: Envelope, batches: Sequence[Batch]) -> bool:
        """Ledger row and batches in one transaction; False where the ledger knew the envelope: then nothing is written.

        Raises:
            IdConflictError: known with another checksum.

        """
        ...

    async def put_claimed(self, envelope: Envelope, batches: Sequence[Batch], *, claim_seconds: int) -> list[DueBatch]:
        """As `put`, for who will try them at once: all are claimed from the beginning. Empty where `put` says False."""
        ...

    async def claim(self, *, count_max: int, claim_seconds: int, paused: Collection[str] = ()) -> list[DueBatch]:
        """Take batches whose time has come, oldest first; each is ours for `claim_seconds`. Those of `paused` webhooks stay."""
        ...

    async def release(self, claimed: Sequence[DueBatch]) -> None:
        """Give back what was claimed and not tried: due now, at its old place. Where the claim no longer holds, nothing."""
        ...

    async def delivered(self, due: DueBatch, status: int, *, latency_ms: int = 0) -> bool:
        """The customer has it. False where the claim had lapsed and someone else decided."""
        ...

    async def failed(self, due: DueBatch, reason: str, *, retry_in_seconds: float | None, latency_ms: int = 0) -> bool:
        """The attempt failed: try again then, or give up where None. False as in `delivered`."""
        ...

    async def counts(self) -> OutboxCounts:
        """How much lies where, kept as counters."""
        ...
