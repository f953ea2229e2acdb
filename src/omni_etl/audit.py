"""Audit: is every envelope that was cut in every ledger that it owes? The contract: what is asked of ledgers, and the report.

A hose numbers its envelopes in each lane without gaps, and each header names the last number cut in both. So a ledger that holds
the headers tells what there must be, and each ledger tells what there is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal, Protocol

from omni_etl.envelope import Lane

SINCE_DEFAULT: Final = "24h"
LATE_SECONDS: Final = 3_600  # after its cut; what then is nowhere is missing
QUIET_SECONDS: Final = (
    300  # the same, where the lanes are empty and the hose is heard of: five times its longest silence
)
HEARD_SECONDS: Final = 180  # a living hose was heard of within that time
ROWS_DAYS: Final = 6  # of the cut, of which rows are compared with markers: nobody keeps them for less than seven
FINDINGS_MAX: Final = 100
DAY_MS: Final = 86_400_000
AUDITED: Final = "audit"  # the role under which the last check is reported

What = Literal[
    "missing", "repeated", "rows missing", "rows doubled", "marker missing", "roll-up differs", "accepted, not cut"
]


@dataclass(frozen=True, slots=True)
class Window:
    """Envelopes cut since a time. Those cut until `settled_ms` must be there; until `quiet_ms`, where nothing is under way."""

    since_ms: int
    settled_ms: int
    quiet_ms: int
    now_ms: int

    @property
    def first_day(self) -> date:
        """Of partitions that are read: one before, for what a hose said before."""
        return _day(max(0, self.since_ms - DAY_MS))

    @property
    def first_rows_day(self) -> date:
        """Of partitions whose rows are compared."""
        return max(_day(self.since_ms), _day(self.now_ms) - timedelta(days=ROWS_DAYS))

    @property
    def rows_days(self) -> list[date]:
        """All of them; a hose whose clock is fast may be a day ahead."""
        days = (_day(self.now_ms) - self.first_rows_day).days + 2
        return [self.first_rows_day + timedelta(days=each) for each in range(days)]


@dataclass(frozen=True, slots=True)
class LaneSaid:
    """Last numbers cut in one lane: before the window, until its two times, and at all."""

    before: int
    settled: int
    quiet: int
    high: int
    closed: bool


@dataclass(frozen=True, slots=True)
class HoseSaid:
    """What the headers of one hose say that came to a ledger."""

    hose_id: str
    newest_ms: int
    accepted_before: int
    accepted: int
    lanes: Mapping[Lane, LaneSaid]


@dataclass(frozen=True, slots=True)
class Span:
    """The numbers `low` to `high` of one hose and lane; those up to `settled` must be there."""

    hose_id: str
    lane: Lane
    low: int
    settled: int
    high: int

    @property
    def prefix(self) -> str:
        """What the keys begin with."""
        return f"{self.hose_id}-{self.lane}-"

    @property
    def end(self) -> str:
        """Behind the last key that begins so."""
        return f"{self.hose_id}-{self.lane}."


@dataclass(frozen=True, slots=True)
class Tally:
    """How many numbers of a span a ledger holds, up to `settled` and beyond; markers too many; events they say, where it knows."""

    settled: int = 0
    beyond: int = 0
    repeated: int = 0
    events: int = 0


@dataclass(frozen=True, slots=True)
class Wound:
    """What does not agree within one table: of an envelope, or where only that is known of a day."""

    service: str
    key: str
    what: What
    events: int


Gap = tuple[int, int]
"""First and last number that is missing."""


class Ledger(Protocol):
    """What one service remembers. Every method raises `UnavailableError` when its engine is away."""

    async def tallies(self, spans: Sequence[Span]) -> Mapping[str, Tally]:
        """By prefix; a span of which it holds nothing may be left out."""
        ...

    async def gaps(self, span: Span, *, count_max: int) -> Sequence[Gap]:
        """The first so many, up to `settled`."""
        ...

    async def held(self, keys: Sequence[str]) -> frozenset[str]:
        """Which of these it holds."""
        ...


class StoreLedgers(Protocol):
    """The ledgers in the store, which hold the headers. Every method raises `UnavailableError` when it is away."""

    async def open(self) -> None:
        """Connect."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    async def hoses(self, window: Window) -> Sequence[HoseSaid]:
        """Every hose that was heard of in the window."""
        ...

    def ledger(self, service: str, window: Window) -> Ledger | None:
        """Of a service whose ledger is here."""
        ...

    async def wounds(self, window: Window, *, repeated: Collection[str]) -> Sequence[Wound]:
        """Rows against markers, roll-ups against markers. `repeated`: services of whose markers some stand twice, to be named."""
        ...

    async def suppressing(self, spans: Sequence[Span], window: Window) -> Mapping[str, int]:
        """How many envelopes up to `settled` hold an event that suppresses, by prefix."""
        ...

    async def suppressing_numbers(self, span: Span, window: Window) -> frozenset[int]:
        """Which they are."""
        ...


class DatabaseLedgers(Protocol):
    """The ledgers in the database."""

    async def open(self) -> None:
        """Connect."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    def ledger(self, service: str) -> Ledger | None:
        """Of a service whose ledger is here."""
        ...

    async def numbers(self, service: str, span: Span) -> frozenset[int]:
        """Which numbers up to `settled` it holds."""
        ...


@dataclass(slots=True)
class Account:
    """Envelopes of one service: every number that was cut stands in one of these figures; repeated ones beside."""

    done: int = 0
    sided: int = 0
    dead: int = 0
    discarded: int = 0
    late: int = 0
    missing: int = 0
    repeated: int = 0

    def add(self, other: Account) -> None:
        """Both together."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class LaneAccount:
    """One hose in one lane."""

    lane: Lane
    first: int
    last: int
    closed: bool
    services: dict[str, Account]


@dataclass(frozen=True, slots=True)
class HoseAccount:
    """One hose: events accepted in the window, and its envelopes."""

    hose_id: str
    accepted: int
    newest_ms: int
    lanes: list[LaneAccount]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and what to do."""

    service: str
    key: str  # an envelope's, or `<hose_id>-<lane>-<first>..<last>`, or a day's
    what: What
    events: int | None
    do: str


@dataclass(slots=True)
class Report:
    """The whole of it. The two numbers are 0, or someone has to look."""

    since_ms: int
    now_ms: int
    missing_envelopes: int = 0
    doubled_events: int = 0
    oldest_owed_seconds: float | None = 0.0
    services: dict[str, Account] = field(default_factory=dict)
    since_ms_of: dict[str, int] = field(
        default_factory=dict
    )  # services that owe, or whose ledger keeps, no more than that
    not_audited: list[str] = field(default_factory=list)
    hoses: list[HoseAccount] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


class Audits(Protocol):
    """Who audits a whole system."""

    async def audit(self, since_ms: int, *, late_seconds: int = LATE_SECONDS) -> Report:
        """Look now. Raises `UnavailableError` when an engine is away: what cannot be read is not vouched for."""
        ...

    async def last(self) -> dict[str, Any] | None:
        """The two numbers as the parents' last check found them; None where there was none within the hour."""
        ...


def parse_since(text: str, *, now: float) -> int | None:
    """Milliseconds since the epoch of `24h`, `90m`, `7d` ago, or of a time in ISO 8601; None where it is neither.

    Never before the epoch, nor ahead of now.
    """
    ago = re.fullmatch(r"([0-9]{1,6})([mhd])", text)
    if ago:
        since = now - int(ago[1]) * _SECONDS[ago[2]]
    else:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            return None
        since = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    return int(min(max(0.0, since), now) * 1000)


def _day(at_ms: int) -> date:
    return datetime.fromtimestamp(at_ms / 1000, UTC).date()


_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400}
