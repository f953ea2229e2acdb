"""Accounts: what became of the numbers of one service in one span; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from omni_etl.audit import Account, Gap, Span, Tally
from omni_etl.dead_letters import Burial


@dataclass(frozen=True, slots=True)
class Absent:
    """What a ledger lacks in one span, by what the database knows of it."""

    span: Span
    tally: Tally
    buried: Mapping[int, Burial]  # dead letters among the numbers that the ledger lacks

    @property
    def unexplained(self) -> int:
        """Numbers up to `settled` that are in no ledger and no dead letter."""
        lacking = self.span.settled - self.span.low + 1 - self.tally.settled
        return max(0, lacking - sum(1 for seq in self.buried if seq <= self.span.settled))

    def account(self, *, is_sided: bool) -> Account:
        """Every number in one figure. `is_sided`: the siding of the service holds something, perhaps these."""
        late = self.span.high - self.span.settled - self.tally.beyond
        dead = sum(1 for each in self.buried.values() if each.left_how is None)
        discarded = sum(1 for each in self.buried.values() if each.left_how == "discarded")
        return Account(
            done=self.tally.settled + self.tally.beyond,
            sided=(self.unexplained if is_sided else 0) + len(self.buried) - dead - discarded,
            dead=dead,
            discarded=discarded,
            late=max(0, late - sum(1 for seq in self.buried if seq > self.span.settled)),
            missing=0 if is_sided else self.unexplained,
            repeated=self.tally.repeated,
        )

    def missing(self, gaps: Iterable[Gap]) -> list[Gap]:
        """These gaps without what became dead letters."""
        return [part for gap in gaps for part in _without(gap, sorted(self.buried))]


def buried_in(span: Span, burials: Iterable[Burial]) -> dict[int, Burial]:
    """Those whose key is of this span, by number."""
    found: dict[int, Burial] = {}
    for each in burials:
        digits = each.key.removeprefix(span.prefix)
        if digits != each.key and digits.isdecimal() and span.low <= int(digits) <= span.high:
            found[int(digits)] = each
    return found


def named(span: Span, gap: Gap) -> str:
    """A key, or the first and the last number of several."""
    first, last = gap
    return f"{span.prefix}{first}" if first == last else f"{span.prefix}{first}..{last}"


def _without(gap: Gap, taken: Iterable[int]) -> list[Gap]:
    parts: list[Gap] = []
    first, last = gap
    for seq in taken:
        if first <= seq <= last:
            parts.append((first, seq - 1))
            first = seq + 1
    return [(start, end) for start, end in [*parts, (first, last)] if start <= end]
