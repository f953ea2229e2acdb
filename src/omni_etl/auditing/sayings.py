"""Sayings: what the ledger of suppressions must hold. It notes only envelopes that say something, so others tell which these are.

An envelope owes it a row where message_events holds an event of it that suppresses; and one that no other service has seen is
missing here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from omni_etl.audit import DatabaseLedgers, Gap, Span, StoreLedgers, Tally, Window

SERVICE = "suppressions"


class SayingLedger:
    """A ledger in which whoever owes no row counts as there."""

    def __init__(
        self,
        store: StoreLedgers,
        database: DatabaseLedgers,
        window: Window,
        *,
        beyond: Mapping[str, int],
        lost: Mapping[str, frozenset[int]],
    ) -> None:
        self._store = store
        self._database = database
        self._window = window
        self._beyond = beyond  # of each prefix: how many numbers beyond the settled ones message_events holds
        self._lost = lost  # numbers that every other service lacks
        self._lacking: dict[str, frozenset[int]] = {}

    async def tallies(self, spans: Sequence[Span]) -> Mapping[str, Tally]:
        """By counts; numbers are compared only where counts differ."""
        ledger = self._database.ledger(SERVICE)
        assert ledger is not None, "it is there"
        owing, held = await self._store.suppressing(spans, self._window), await ledger.tallies(spans)
        found: dict[str, Tally] = {}
        for span in spans:
            agree = owing.get(span.prefix, 0) == held.get(span.prefix, Tally()).settled
            lacking = frozenset() if agree and not self._lost.get(span.prefix) else await self._find(span)
            self._lacking[span.prefix] = lacking
            there = span.settled - span.low + 1 - len(lacking)
            found[span.prefix] = Tally(there, self._beyond.get(span.prefix, 0))
        return found

    async def gaps(self, span: Span, *, count_max: int) -> Sequence[Gap]:
        """As `tallies` found them."""
        return ranges(self._lacking[span.prefix])[:count_max]

    async def held(self, keys: Sequence[str]) -> frozenset[str]:
        """By its rows alone."""
        ledger = self._database.ledger(SERVICE)
        assert ledger is not None, "it is there"
        return await ledger.held(keys)

    async def _find(self, span: Span) -> frozenset[int]:
        owing = await self._store.suppressing_numbers(span, self._window)
        lost = self._lost.get(span.prefix, frozenset())
        return (owing | lost) - await self._database.numbers(SERVICE, span)


def ranges(numbers: frozenset[int]) -> list[Gap]:
    """Neighbours together."""
    ordered = sorted(numbers)
    if not ordered:
        return []
    breaks = [(last, first) for last, first in pairwise(ordered) if first > last + 1]
    firsts = [ordered[0], *(first for _, first in breaks)]
    lasts = [*(last for last, _ in breaks), ordered[-1]]
    return list(zip(firsts, lasts, strict=True))
