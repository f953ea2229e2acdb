"""Dead letters: why envelopes were given up, and what became of them; the contract. The envelopes themselves lie in queues.

A letter is *in* until it is put back or discarded; what is buried again after that is in again, with its new reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Left = Literal["redriven", "discarded"]


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """How many envelopes of one service died of one reason and are still in."""

    service: str
    reason: str
    count: int
    oldest_at_ms: int


@dataclass(frozen=True, slots=True)
class Burial:
    """What is known of one dead letter; the reason is empty where only the queue gave it up (SQS, after 1,000 receives)."""

    service: str
    key: str
    reason: str
    died_at_ms: int
    left_how: Left | None = None
    left_at_ms: int | None = None
    event_count: int | None = None  # known of what was discarded


class DeadLetters(Protocol):
    """Every method raises `UnavailableError` when the database is away."""

    async def open(self) -> None:
        """Connect and migrate."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    async def counts(self) -> Sequence[ReasonCount]:
        """Of those that are in, by service, the most frequent reason first."""
        ...

    async def find(self, service: str, key: str) -> Burial | None:
        """One of them, whatever became of it."""
        ...

    async def services_of(self, key: str) -> Sequence[str]:
        """Which services gave this envelope up and have it in."""
        ...

    async def leave(self, service: str, key: str, how: Left, *, event_count: int | None = None) -> None:
        """Note that it was put back or discarded, with its events; one that has no reason is noted too."""
        ...

    async def since(self, died_at_ms: int) -> Sequence[Burial]:
        """All that died then or later, whatever became of them."""
        ...
