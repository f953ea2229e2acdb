"""Webhook: a customer's subscription; the contract of where subscriptions are kept."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

RetrySchedule = Literal["standard", "sparkpost"]
BATCH_EVENTS_MAX: Final = 100  # of a batch, unless its webhook says otherwise
SUBACCOUNTS_ALL: Final = -1  # "primary and all" in SparkPost's PUT; 0 is the primary account alone
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 what marks a secret is none
SECRET_BYTES: Final = 32
SECRETS_MAX: Final = 10  # that sign at the same time: headers of half a kilobyte
OVERLAP_SECONDS: Final = 86_400
OVERLAP_SECONDS_MAX: Final = 7 * 86_400


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """Where an access token is asked for, and with what (OAuth 2, client credentials)."""

    url: str
    body: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class FormerSecret:
    """A signing secret that was replaced, and signs for a while yet."""

    text: str = field(repr=False)
    until_ms: int


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
    retry_schedule: RetrySchedule = "standard"
    batch_events_max: int = BATCH_EVENTS_MAX
    signing_secret: str | None = field(default=None, repr=False)
    former_secrets: tuple[FormerSecret, ...] = ()  # the one replaced last comes first

    def wants(self, type_name: str, subaccount_id: int) -> bool:
        """Whether an event of this type and subaccount belongs to this webhook."""
        if not self.active or type_name not in self.events or subaccount_id in self.exception_subaccounts:
            return False
        return self.subaccount_id in (SUBACCOUNTS_ALL, subaccount_id)

    def signing_secrets(self, now_ms: int) -> tuple[str, ...]:
        """Every secret that signs now, the current one first."""
        current = () if self.signing_secret is None else (self.signing_secret,)
        return (*current, *(each.text for each in self.former_secrets if each.until_ms > now_ms))

    def rotated(self, secret: str, *, now_ms: int, overlap_ms: int) -> Webhook:
        """With a new signing secret; those of before sign no longer than the overlap, and not longer than they would have.

        Of more than `SECRETS_MAX` the oldest end at once.
        """
        until_ms = now_ms + overlap_ms
        current = () if self.signing_secret is None else (FormerSecret(self.signing_secret, until_ms),)
        cut = (replace(each, until_ms=min(each.until_ms, until_ms)) for each in (*current, *self.former_secrets))
        former = tuple(each for each in cut if each.until_ms > now_ms)[: SECRETS_MAX - 1]
        return replace(self, signing_secret=secret, former_secrets=former)


def new_signing_secret() -> str:
    """As Standard Webhooks spells them."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


class Webhooks(Protocol):
    """Every method raises `UnavailableError` when the database is away, or when what it keeps secret cannot be opened."""

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

    async def rotate(self, webhook_id: str, *, overlap_seconds: int) -> Webhook | None:
        """Give it a new signing secret, see `Webhook.rotated`; each of several that rotate at once stands. None where it is gone."""
        ...

    async def delete(self, webhook_id: str) -> bool:
        """Forget it; batches already in the outbox still go out. False where there was none."""
        ...
