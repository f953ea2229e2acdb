"""Reports: sums and distinct messages over what was counted; the contract.

What is asked is a time, conditions, and figures, each a sum over measures (`services/metrics/measures.py` says what an event
counts as). Roll-ups answer it where one has every dimension that is asked for, and the events themselves where none has:
then only as far back as events are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

DIMENSIONS: Final = (
    "domain", "mailbox_provider", "mailbox_provider_region", "campaign_id", "template_id", "sending_domain", "ip_pool",
    "sending_ip", "bounce_class", "reason", "link_name", "subaccount_id",
)  # fmt: skip
"""What counts can be told apart by. A bounce class that nobody knows is "1", Undetermined."""

Operator = Literal["eq", "notEq", "like", "notLike"]


@dataclass(frozen=True, slots=True)
class Condition:
    """A dimension is one of these, or none; or holds one of them, whatever the case of letters, or none."""

    dimension: str
    operator: Operator
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conditions:
    """All of them hold, or any."""

    conditions: tuple[Condition, ...]
    is_any: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A sum over events that count as `measures`, less those that count as `less`.

    `of` is what is added up: events, delivery_ms, message_bytes, or messages, each told apart once in each unit of time.
    """

    name: str
    measures: frozenset[str]
    less: frozenset[str] = frozenset()
    of: Literal["events", "delivery_ms", "message_bytes", "messages"] = "events"


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """Times are seconds since the epoch, at whole minutes."""

    from_s: int  # inclusive
    to_s: int  # exclusive
    figures: tuple[Figure, ...]
    by: tuple[str, ...] = ()
    buckets: Sequence[
        int
    ] = ()  # where the parts of a series begin, a range where it can be one; empty: it is no series
    units: range | None = None  # where the units begin in which messages are told apart; None: minutes
    conditions: tuple[Conditions, ...] = ()  # all of them hold
    order_by: str = ""  # a figure, largest first; the first one where empty
    count_max: int | None = None  # rows


@dataclass(frozen=True, slots=True)
class ReportRow:
    """`bucket` is where its part begins, 0 where the query is no series; texts of `by`; figures in the order asked for."""

    bucket: int
    by: tuple[str, ...]
    figures: tuple[int, ...]


class Reports(Protocol):
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

    async def report(self, query: ReportQuery) -> Sequence[ReportRow]:
        """A row for each combination of bucket and `by` in which something was counted that the figures ask for."""
        ...

    async def values(
        self, dimension: str, *, from_s: int, to_s: int, part: str, count_max: int, subaccount_id: int | None
    ) -> Sequence[str]:
        """The values that a dimension had, in order; those that hold `part`."""
        ...
