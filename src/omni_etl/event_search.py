"""Event search: stored events by what they say, newest first; the contract.

Events are in one order for ever: by time, then by envelope and line, latest first. A search that goes on after a place of
that order repeats nothing and skips nothing that stood, whatever comes in meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

LINES_MAX: Final = 500  # of one `lines`: 64 MB, were every event as long as can be

EXACT: Final = frozenset(
    {
        "event_id", "rcpt_to", "friendly_from", "message_id", "transmission_id", "bounce_class", "sending_ip",
        "ab_test_version", "batch_id", "retryable",
    }
)  # fmt: skip
WORDED: Final = frozenset(
    {
        "recipient_domain", "sending_domain", "subject", "campaign_id", "template_id", "ip_pool", "reason",
        "mailbox_provider", "mailbox_provider_region", "ab_test_id",
    }
)  # fmt: skip


class Place(NamedTuple):
    """Where an event stands."""

    timestamp_ms: int
    envelope_key: str
    line_number: int


@dataclass(frozen=True, slots=True)
class EventQuery:
    """What is looked for: all of these together, and of each one value or another.

    Addresses, and everything in `words`, are compared without regard to case. A value of `words` matches as whole words in
    a row, set apart by spaces, dashes and underscores, in domains by dots too: `friday` does not match `blackfriday-vip`,
    `yahoo` matches `mail.yahoo.co.uk`.
    """

    from_ms: int  # inclusive
    to_ms: int  # exclusive
    types: frozenset[str]
    subaccount_ids: frozenset[int] | None = None  # None: every one; 0 is the primary account
    exact: Mapping[str, Sequence[str]] = field(default_factory=dict)  # names of EXACT
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)  # names of WORDED
    reason_parts: Sequence[str] = ()  # texts that stand anywhere in `reason`


class EventSearch(Protocol):
    """Every method but `open` raises `UnavailableError` when the store is away or too slow."""

    async def open(self) -> None:
        """Connect; a store that is away is connected to when it is asked.

        Raises:
            SettingsError: what waiting cannot heal.

        """
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    async def find(
        self, query: EventQuery, *, count_max: int, after: Place | None = None, skip: int = 0
    ) -> Sequence[Place]:
        """The first events of these, newest first; those after a place, or all but some."""
        ...

    async def count(self, query: EventQuery) -> int:
        """How many there are."""
        ...

    async def lines(self, places: Sequence[Place]) -> Sequence[str]:
        """The events as they came, in their order; at most `LINES_MAX` places. One that is gone is left out."""
        ...
