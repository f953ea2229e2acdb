"""Keys: who may call the API; the contract. A secret is shown once, at its making, and only its digest is kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

MARK: Final = "omni_"  # so that scanners and people recognise a leaked secret
GRANTS: Final = (
    "webhooks/view",
    "webhooks/modify",
    "events/view",
    "metrics/view",
    "suppression_list/view",
    "suppression_list/modify",
    "ingest",
    "ingest/old",
)
"""All there are; a key without a list has every one, also those that come later."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it may be shown. It speaks for its subaccount alone where it has one, else for the primary account."""

    id: str
    name: str
    created_at_ms: int
    revoked: bool
    subaccount_id: int | None = None
    grants: frozenset[str] | None = None  # None: everything


class Keys(Protocol):
    """Every method raises `UnavailableError` when the database is away."""

    async def open(self) -> None:
        """Connect."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    async def create(
        self, name: str, *, grants: Collection[str] | None = None, subaccount_id: int | None = None
    ) -> str:
        """Make a key and answer its secret, which nobody can read again. No list of grants means everything; an empty one, nothing."""
        ...

    async def verify(self, secret: str) -> ApiKey | None:
        """The key of this secret; None where there is none, or it was revoked."""
        ...

    async def all(self) -> Sequence[ApiKey]:
        """Every key ever made, oldest first."""
        ...

    async def revoke(self, key_id: str) -> bool:
        """From now on `verify` refuses it; False where it was unknown or revoked already."""
        ...


def new_secret() -> str:
    """256 random bits: nothing to guess, so a plain digest of it needs no salt and no slow hash."""
    return MARK + secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """What is kept of a secret; looking it up takes no time that depends on how much of a guess was right."""
    return hashlib.sha256(secret.encode()).digest()
