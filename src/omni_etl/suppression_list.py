"""Suppression list: who may not be mailed; the contract.

An entry is the maximum over (said_at_ms, said_id) of everything that was said about (subaccount, recipient, type),
whatever the order of arrival. A DELETE is a saying too and leaves a tombstone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from omni_etl.envelope import Envelope

SuppressionType = Literal["transactional", "non_transactional"]


@dataclass(frozen=True, slots=True)
class Saying:
    """One statement about one recipient."""

    subaccount_id: int  # 0 = the primary account
    recipient: str  # as `address_key` spells it
    type: SuppressionType
    suppressed: bool  # False: a deletion
    said_at_ms: int  # the event's time, or the server's for manual entries
    said_id: str  # the event's id; breaks ties
    source: str  # "Bounce Rule", "Spam Complaint", "List Unsubscribe", "Unsubscribe Link", "Manually Added"
    description: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What holds now."""

    subaccount_id: int
    recipient: str
    type: SuppressionType
    source: str
    description: str
    created_at_ms: int
    updated_at_ms: int


class SuppressionList(Protocol):
    """Every method raises `UnavailableError` when the database is away."""

    async def open(self) -> None:
        """Connect."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    async def apply(self, envelope: Envelope, sayings: Sequence[Saying]) -> bool:
        """Ledger row and entries in one transaction; False where the ledger knew the envelope.

        Raises:
            IdConflictError: known with another checksum.

        """
        ...

    async def say(self, sayings: Sequence[Saying]) -> None:
        """Manual sayings, in one transaction."""
        ...

    async def check(self, recipient: str, subaccount_id: int | None = None) -> list[Entry]:
        """The entries that hold for this address; of all subaccounts where None."""
        ...

    async def count(self) -> int:
        """Entries that hold."""
        ...


def address_key(address: str) -> str:
    """How an address is spelled in the list: trimmed and in lower case, as SparkPost spells `rcpt_to`."""
    return address.strip().lower()
