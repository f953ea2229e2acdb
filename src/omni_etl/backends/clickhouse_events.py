"""Event search on the table of the message_events service.

A page is found in two steps: where its events stand, from narrow columns, and then the events, some at a time. So no
more of the wide column is read than is shown, and no more of it is held at once than a few hundred events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

from omni_etl import sql
from omni_etl.backends.clickhouse_reader import StoreReader
from omni_etl.event_search import EXACT, LINES_MAX, WORDED, EventQuery, Place

FOLDED: Final = frozenset({"rcpt_to", "friendly_from"})  # addresses, compared in lower case
DOMAINS: Final = frozenset({"recipient_domain", "sending_domain"})
NEVER: Final = r"[^\x00-\x{10FFFF}]"  # matches nothing
_PARAMETER: Final = re.compile(r"\{(\w+):")
_SEPARATOR: Final = "[ _-]"
_DOMAIN_SEPARATOR: Final = "[ _.-]"
HOUR_MS: Final = 60 * 60 * 1000
SLICES_HOURS: Final = (1, 4, 16)  # looked at one after the other, before all the rest
RARE: Final = frozenset({"event_id", "rcpt_to", "message_id", "transmission_id"})  # what finds few events of many


class ClickHouseEvents(StoreReader):
    """Events, found."""

    async def find(
        self, query: EventQuery, *, count_max: int, after: Place | None = None, skip: int = 0
    ) -> Sequence[Place]:
        """The first events of these, newest first. Where many may match, the last hours are asked before the rest."""
        to_ms = query.to_ms if after is None else min(query.to_ms, after.timestamp_ms + 1)
        places: list[Place] = []
        for begin_ms, end_ms in _slices(
            query.from_ms, to_ms, () if skip or query.exact.keys() & RARE else SLICES_HOURS
        ):
            part = replace(query, from_ms=begin_ms, to_ms=end_ms)
            places += await self._find(part, count_max=count_max - len(places), after=after, skip=skip)
            if len(places) == count_max:
                break
        return places

    async def _find(self, query: EventQuery, *, count_max: int, after: Place | None, skip: int) -> list[Place]:
        asked = _asked(query)
        if after is not None:
            asked |= {"after_ms": after.timestamp_ms, "after_key": after.envelope_key, "after_line": after.line_number}
        statement = f"{sql.query('events_found')}{_where(asked)}{sql.query('events_newest')}"
        rows = await self._ask(statement, {**asked, "count_max": count_max, "skip": skip})
        return [Place(int(time_ms), str(key), int(line)) for time_ms, key, line in rows]

    async def count(self, query: EventQuery) -> int:
        """How many there are."""
        asked = _asked(query)
        [(found,)] = await self._ask(f"{sql.query('events_counted')}{_where(asked)}", asked)
        return int(found)

    async def lines(self, places: Sequence[Place]) -> Sequence[str]:
        """The events as they came, in their order."""
        assert 0 < len(places) <= LINES_MAX, len(places)
        lines: dict[str, list[int]] = {}
        for place in places:
            lines.setdefault(place.envelope_key, []).append(place.line_number)
        times = sorted({place.timestamp_ms for place in places})
        parameters = {"times_ms": times, "keys": list(lines), "lines": list(lines.values())}
        return [str(line) for (line,) in await self._ask(sql.query("events_lines"), parameters)]


def _slices(from_ms: int, to_ms: int, hours: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The window in parts, the last first."""
    end_ms = to_ms
    for count in hours:
        begin_ms = max(from_ms, end_ms - count * HOUR_MS)
        if begin_ms < end_ms:
            yield begin_ms, end_ms
        end_ms = begin_ms
    if from_ms < end_ms:
        yield from_ms, end_ms


def _asked(query: EventQuery) -> dict[str, Any]:
    """Parameters by name; a condition is asked where its parameters are here."""
    assert query.exact.keys() <= EXACT, query.exact
    assert query.words.keys() <= WORDED, query.words
    asked: dict[str, Any] = {"from_ms": query.from_ms, "to_ms": query.to_ms, "type": sorted(query.types)}
    if query.subaccount_ids is not None:
        asked["subaccount_id"] = sorted(query.subaccount_ids)
    for name, values in query.exact.items():
        asked[name] = [_folded(value) for value in values] if name in FOLDED else list(values)
    for name, values in query.words.items():
        asked[name] = _in_words(values, _DOMAIN_SEPARATOR if name in DOMAINS else _SEPARATOR)
    if query.reason_parts:
        asked["reason_parts"] = f"(?is){'|'.join(map(re.escape, query.reason_parts))}"
    return asked


def _where(asked: Mapping[str, Any]) -> str:
    conditions = "".join(f"    AND {condition}\n" for names, condition in _conditions() if names <= asked.keys())
    return f"WHERE marker_key = ''\n{conditions}"


@cache
def _conditions() -> tuple[tuple[frozenset[str], str], ...]:
    """Each condition with the parameters that it needs."""
    lines = [line for line in sql.query("events_conditions").splitlines() if not line.startswith("--")]
    return tuple((frozenset(_PARAMETER.findall(line)), line) for line in lines)


def _folded(text: str) -> str:
    """As the engine's `lower` has it, which knows letters of ASCII alone."""
    return text.encode().lower().decode()


def _in_words(values: Sequence[str], separator: str) -> str:
    """One pattern for all values: RE2 takes time that grows with the text alone, whatever the pattern."""
    phrases = [[re.escape(word) for word in re.split(separator, value) if word] for value in values]
    choices = [f"{separator}+".join(phrase) for phrase in phrases if phrase]
    return f"(?is)(?:^|{separator})(?:{'|'.join(choices)})(?:{separator}|$)" if choices else NEVER
