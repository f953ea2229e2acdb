"""Replay: a webhook's events of a time range, sent once more from the event store; the contract of where such jobs are kept.

A job is durable: its next batches and where it stands are written in one transaction, so that whoever dies with it, another
goes on behind the last batch that was written, and no event is left out or sent twice by the same job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from omni_etl.event_search import Place
from omni_etl.outbox import Batch

EVENTS_PER_SECOND: Final = 1_000  # unless a job says otherwise

ReplayState = Literal["waiting", "done", "cancelled"]


@dataclass(frozen=True, slots=True)
class Replay:
    """One job. Newest events first, as the store is searched."""

    id: str
    webhook_id: str
    from_ms: int  # inclusive
    to_ms: int  # exclusive
    events_per_second: int
    state: ReplayState
    created_at_ms: int
    estimate: int | None = None  # of events, when the job began; more may have come into the range since
    found: int = 0  # events that were looked at
    sent: int = 0  # of these, events in batches that were put into the outbox
    batches: int = 0
    after: Place | None = None
    trouble: str | None = None  # why it does not go on
    finished_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ClaimedReplay:
    """A job that is ours for a while."""

    replay: Replay
    claim: str


@dataclass(frozen=True, slots=True)
class Stride:
    """One step of a job: the batches of a page, and where that page ends. `is_last`: there is no further page."""

    batches: Sequence[Batch]
    found: int
    after: Place | None
    is_last: bool


class Replays(Protocol):
    """Every method raises `UnavailableError` when the database is away."""

    async def open(self) -> None:
        """Connect and migrate."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    async def begin(self, replay: Replay) -> None:
        """Keep a job."""
        ...

    async def find(self, webhook_id: str, replay_id: str) -> Replay | None:
        """One of a webhook's jobs."""
        ...

    async def of_webhook(self, webhook_id: str, *, count_max: int) -> Sequence[Replay]:
        """Newest first."""
        ...

    async def cancel(self, webhook_id: str, replay_id: str) -> bool:
        """No further batches; those that were put go out. False where it is over, or there is none."""
        ...

    async def claim(self, *, claim_seconds: int) -> ClaimedReplay | None:
        """A job that nobody works on, the one that waited longest since its last step."""
        ...

    async def step(self, claimed: ClaimedReplay, stride: Stride, *, pause_seconds: float) -> Replay | None:
        """Batches into the outbox and the job forward, in one transaction, which gives the claim back, due after a pause.

        None where the claim lapsed or the job was cancelled: nothing is written.
        """
        ...

    async def note(self, claimed: ClaimedReplay, *, estimate: int | None = None, trouble: str | None = None) -> None:
        """What is known of it, for people to read; an estimate stays. Where the claim lapsed, nothing."""
        ...
