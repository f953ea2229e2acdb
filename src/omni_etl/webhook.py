"""Webhook: a customer's subscription; the contract of where subscriptions are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

SUBACCOUNTS_ALL: Final = -1  # "primary and all" in SparkPost's PUT; 0 is the primary account alone


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """Where an access token is asked for, and with what (OAuth 2, client credentials)."""

    url: str
    body: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Webhook:
    """What a customer wants to be told, and where. Whatever may be secret does not print."""

    id: str
    name: str
    target: str
    events: frozenset[str]
    subaccount_id: int = SUBACCOUNTS_ALL
    exception_subaccounts: frozenset[int] = frozenset()
    active: bool = True
    custom_headers: Mapping[str, str] = field(default_factory=dict)
    auth_header: str | None = field(default=None, repr=False)  # the whole Authorization value
    auth_token: str | None = field(default=None, repr=False)  # X-MessageSystems-Webhook-Token
    token_request: TokenRequest | None = None  # OAuth 2: it gave the `auth_header`, and gives the next one
    token_expires_at_ms: int | None = None

    def wants(self, type_name: str, subaccount_id: int) -> bool:
        """Whether an event of this type and subaccount belongs to this webhook."""
        if not self.active or type_name not in self.events or subaccount_id in self.exception_subaccounts:
            return False
        return self.subaccount_id in (SUBACCOUNTS_ALL, subaccount_id)


class Webhooks(Protocol):
    """Every method raises `UnavailableError` when the database is away."""

    async def open(self) -> None:
        """Connect."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    async def all(self) -> Sequence[Webhook]:
        """Every webhook, paused ones too."""
        ...

    async def find(self, webhook_id: str) -> Webhook | None:
        """One of them, or None."""
        ...

    async def put(self, webhook: Webhook) -> None:
        """Create or replace."""
        ...

    async def change(self, before: Webhook, after: Webhook) -> bool:
        """Write what differs, and nothing else: changes of other members made meanwhile stand. False where it is gone."""
        ...

    async def delete(self, webhook_id: str) -> bool:
        """Forget it; batches already in the outbox still go out. False where there was none."""
        ...
