"""Erasure: from now on nothing is kept about one recipient; what the fleet knows of it, and the contracts of those who erase.

What stays is a keyed hash of the address and the time of the erasure, so that older events that are still on their way are
known when they come. The key stands in the database, beside the hashes: whoever has both can test a guess, nobody can read one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Protocol

NAME_BYTES: Final = 16
SECRET_BYTES: Final = 32

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and of how much."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """One recipient, of whom nothing is kept that happened until then."""

    name: bytes  # see `name_of`
    at_ms: int


@dataclass(frozen=True, slots=True)
class Known:
    """Every erasure there was. None is ever forgotten, so of two words the longer one holds the other."""

    secret: bytes
    erasures: tuple[Erasure, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an erasure did; names nobody. Its counts are what was found, and grow with each time it is taken up again."""

    id: str
    at_ms: int
    with_suppressions: bool
    finished_at_ms: int | None = None  # None: it was cut off; the same command takes it up
    events: int = 0  # in the store
    reasons: int = 0  # rows of metrics, counted by a reply of a remote server in which the address stood
    batches_rewritten: int = 0
    batches_dropped: int = 0  # with nothing left
    batch_events: int = 0  # out of these batches, and out of what was to become some
    suppressions: int = 0


class Erasures(Protocol):
    """What is to be forgotten. Every method raises `UnavailableError` when the database is away."""

    async def open(self) -> None:
        """Connect and migrate."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    async def known(self, *, beyond: int = 0) -> Known | None:
        """Every erasure; None where there are no more than `beyond`, which costs next to nothing to ask."""
        ...

    async def begin(self, recipient: str, *, with_suppressions: bool) -> Receipt:
        """Note an erasure as of now, or take up the one of this recipient that was cut off. `recipient` as `address_key` spells it."""
        ...

    async def note(self, receipt: Receipt) -> None:
        """Keep its counts; with `finished_at_ms`, it is done."""
        ...

    async def receipts(self) -> Sequence[Receipt]:
        """All of them, newest first."""
        ...


class StoreEraser(Protocol):
    """Every method raises `UnavailableError` when the engine is away, full or too slow."""

    async def open(self) -> None:
        """Connect and apply the schema."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    async def days(self) -> Sequence[date]:
        """On which something was cut that still stands."""
        ...

    async def erase_events(self, recipient: str, day: date) -> int:
        """Delete the recipient's events of one day, however it is spelled there; how many.

        Gone from the disk on return, but for what the engine keeps of replaced files some minutes longer.
        """
        ...

    async def erase_reasons(self, recipient: str) -> int:
        """Delete the rows of metrics that count by a reason in which the address stands; how many."""
        ...


class OutboxEraser(Protocol):
    """Every method raises `UnavailableError` when the database is away."""

    async def open(self) -> None:
        """Connect and migrate."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    async def rewrite_segments(self, recipient: str) -> Rewritten:
        """Take the recipient's events out of what was not yet joined into batches; counts events alone.

        Batches that are joined while it runs may hold some: walk those afterwards.
        """
        ...

    async def batch_ids(self, after: str, *, count_max: int) -> Sequence[str]:
        """Of batches that wait or were given up, in order; those that come later may be among them or not."""
        ...

    async def recall_replays(self) -> None:
        """Whoever is at a page of a replay writes it no more: it may have been read before the store forgot."""
        ...

    async def halves_since(self, at_ms: int) -> Sequence[str]:
        """Ids of the halves of all batches that were split since then, whether they are still there or not."""
        ...

    async def rewrite(self, ids: Sequence[str], recipient: str) -> Rewritten:
        """Take the recipient's events out of these batches, in one transaction.

        Each that holds some becomes another batch under another id, or none where nothing is left.
        """
        ...


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What became of some batches; `claimed` hold such events too, and are being tried: they must be looked at again."""

    rewritten: int = 0
    dropped: int = 0
    events: int = 0
    claimed: tuple[str, ...] = ()


class SuppressionEraser(Protocol):
    """Every method raises `UnavailableError` when the database is away."""

    async def open(self) -> None:
        """Connect."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    async def withdraw(self, recipient: str) -> int:
        """End every entry of the recipient, for whatever reason it stands, and tell those who follow changes; how many."""
        ...

    async def forget(self, recipient: str) -> None:
        """Drop the tombstones. Whoever does not follow changes at this moment has to begin anew."""
        ...


def name_of(recipient: str, secret: bytes) -> bytes:
    """The keyed hash of a recipient, which is spelled as `address_key` does."""
    return hashlib.blake2b(recipient.encode("utf-8", "surrogatepass"), key=secret, digest_size=NAME_BYTES).digest()
