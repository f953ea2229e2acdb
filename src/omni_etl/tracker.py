"""Tracker: who is done with which envelope; the contract.

It may forget everything at any time. A mark permits; a missing mark means *ask the service's ledger*. So losing the
tracker costs repeated questions, never an event and never a second effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

Mark = Literal["done", "sided", "dead"]
"""done: the effect is durable. sided: kept in the service's siding. dead: kept in its dead letters."""

WORK_SECONDS: Final = 86_400  # keys in work live a day, renewed by touch
TOMBSTONE_SECONDS: Final = 3_600  # after deletion; later duplicates ask the ledgers


@dataclass(frozen=True, slots=True)
class Progress:
    """What the tracker remembers of one envelope."""

    marks: dict[str, Mark]  # service → mark
    settled: bool  # the envelope was deleted within the last hour: a duplicate owes nothing


class Tracker(Protocol):
    """Marks per envelope and service. Every method raises `UnavailableError` when the engine is away or out of memory."""

    async def open(self, epoch: str) -> None:
        """Connect and check. Marks of another epoch are invisible (a tracker restored from a backup tells no lies).

        Raises:
            SettingsError: where the engine evicts keys, or refuses our credentials.

        """
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    async def ask(self, keys: Sequence[str]) -> list[Progress]:
        """What is remembered, in the order of `keys`; also renews what is in work."""
        ...

    async def mark(self, key: str, service: str, mark: Mark, owed: frozenset[str]) -> frozenset[str]:
        """Note one mark and answer which of `owed` have none yet, atomically. Idempotent."""
        ...

    async def bury(self, keys: Sequence[str]) -> None:
        """After deletion: leave a tombstone in place of the marks."""
        ...
