"""Deliveries: what became of attempts, for people to see and to mend; the contract."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from omni_etl.outbox import Lane


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
