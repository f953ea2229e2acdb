"""The ledgers in ClickHouse as the audit reads them: the engine counts, and names only what does not agree."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final

from omni_etl import sql
from omni_etl.audit import Gap, HoseSaid, LaneSaid, Span, Tally, What, Window, Wound
from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.envelope import Lane
from omni_etl.event import BOUNCE_TYPES, SUPPRESSING_BOUNCE_CLASSES, SUPPRESSING_TYPES

TABLES: Final = ("message_events", "metrics")
SPANS_AT_ONCE: Final = 200  # they travel in the address of a request
NAMED_MAX: Final = 1_000
WHITE: Final = " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"  # what `address_key` trims, of ASCII


class ClickHouseLedgers:
    """On a store of its own, whose calls may take long."""

    def __init__(self, store: ClickHouseStore) -> None:
        self._store = store

    async def open(self) -> None:
        """Connect."""
        await self._store.open()

    async def close(self) -> None:
        """Give back connections."""
        await self._store.close()

    async def hoses(self, window: Window) -> Sequence[HoseSaid]:
        """One pass over the markers of both tables."""
        asked = {name: getattr(window, name) for name in ("since_ms", "settled_ms", "quiet_ms", "first_day")}
        return [_said(row) for row in await self._store.query(sql.query("audit_hoses"), asked)]

    def ledger(self, service: str, window: Window) -> ClickHouseLedger | None:
        """Of the two that are here."""
        return ClickHouseLedger(self._store, service, window) if service in TABLES else None

    async def wounds(self, window: Window, *, repeated: Collection[str]) -> Sequence[Wound]:
        """Whole days are compared first; only where one does not agree its envelopes are. What stands twice as a whole agrees."""
        days = [day for (day,) in await self._ask("audit_event_days", first_day=window.first_rows_day)]
        days = window.rows_days if "message_events" in repeated else days
        found = [wound for day in days for wound in await self._event_wounds(day)]
        if "metrics" in repeated:
            found += await self._repeated_metrics(window)
        return [*found, *await self._changed_metrics(window)]

    async def suppressing(self, spans: Sequence[Span], window: Window) -> Mapping[str, int]:
        """By what message_events holds."""
        return {
            prefix: count
            for some in _pieces(spans)
            for prefix, count, _ in await self._ask("audit_suppressing", **_suppressing(some, window), named=False)
        }

    async def suppressing_numbers(self, span: Span, window: Window) -> frozenset[int]:
        """Likewise."""
        rows = await self._ask("audit_suppressing", **_suppressing([span], window), named=True)
        return frozenset(int(seq) for *_, numbers in rows for seq in numbers)

    async def _event_wounds(self, day: date) -> list[Wound]:
        rows = await self._ask("audit_event_rows", day=day, limit=NAMED_MAX)
        keys = [str(key) for key, *_ in rows]
        erased = {key: int(count) for key, count in await self._ask("audit_erased_rows", day=day, keys=keys)}
        return [wound for row in rows for wound in _event_wounds(row, erased.get(row[0], 0))]

    async def _repeated_metrics(self, window: Window) -> list[Wound]:
        rows = await self._ask("audit_metrics_repeated", first_day=window.first_day, limit=NAMED_MAX)
        return [Wound("metrics", str(key), "repeated", (int(times) - 1) * int(stored)) for key, times, stored in rows]

    async def _changed_metrics(self, window: Window) -> list[Wound]:
        rows = await self._ask("audit_metric_days", first_day=window.first_rows_day)
        return [
            Wound("metrics", f"{family} of {day}", "roll-up differs", int(there) - int(due))
            for day, family, due, there in rows
        ]

    async def _ask(self, name: str, **parameters: Any) -> Sequence[Sequence[Any]]:
        return await self._store.query(sql.query(name), parameters)


class ClickHouseLedger:
    """The markers of one table."""

    def __init__(self, store: ClickHouseStore, table: str, window: Window) -> None:
        self._store = store
        self._table = table
        self._first_day = window.first_day

    async def tallies(self, spans: Sequence[Span]) -> Mapping[str, Tally]:
        """One pass over the markers for some hundred spans."""
        found: dict[str, Tally] = {}
        for some in _pieces(spans):
            asked = {
                **_spans(some),
                "first_prefix": min(each.prefix for each in some),
                "last_prefix": max(each.end for each in some),
                "first_day": self._first_day,
            }
            rows = await self._store.query(sql.query(f"audit_tally_{self._table}"), asked)
            found.update({str(prefix): Tally(*map(int, counts)) for prefix, *counts in rows})
        return found

    async def gaps(self, span: Span, *, count_max: int) -> Sequence[Gap]:
        """By a window over its numbers in order."""
        asked = {"table": self._table, "prefix": span.prefix, "end": span.end, "low": span.low, "high": span.settled}
        rows = await self._store.query(sql.query("audit_gaps"), {**asked, "limit": count_max})
        return [(int(first), int(last)) for first, last in rows]

    async def held(self, keys: Sequence[str]) -> frozenset[str]:
        """By the primary key."""
        found: set[str] = set()
        for start in range(0, len(keys), SPANS_AT_ONCE):
            found.update(await self._store.markers(self._table, keys[start : start + SPANS_AT_ONCE]))
        return frozenset(found)


def _said(row: Sequence[Any]) -> HoseSaid:
    hose_id, newest_ms, accepted_before, accepted, *lanes = row
    by_lane: dict[Lane, LaneSaid] = {"express": _lane(*lanes[:5]), "bulk": _lane(*lanes[5:])}
    return HoseSaid(str(hose_id), int(newest_ms), int(accepted_before), int(accepted), by_lane)


def _lane(before: int, settled: int, quiet: int, high: int, closed: int) -> LaneSaid:
    return LaneSaid(int(before), int(settled), int(quiet), int(high), bool(closed))


def _event_wounds(row: Sequence[Any], erased: int) -> Iterator[Wound]:
    """Of one envelope; markers, how many rows it should have, how many it has, and how many of these are repetitions."""
    key, markers, stored, rows, doubled = str(row[0]), *map(int, row[1:])

    def wound(what: What, events: int) -> Wound:
        return Wound("message_events", key, what, events)

    if not markers:
        yield wound("marker missing", rows)
        return
    if markers > 1:
        yield wound("repeated", doubled)
    elif doubled:
        yield wound("rows doubled", doubled)
    lost = stored - (rows - doubled) - erased
    if lost > 0:
        yield wound("rows missing", lost)


def _pieces(spans: Sequence[Span]) -> Iterator[Sequence[Span]]:
    """In order, so that each piece reads a range of keys of its own."""
    ordered = sorted(spans, key=lambda each: each.prefix)
    for start in range(0, len(ordered), SPANS_AT_ONCE):
        yield ordered[start : start + SPANS_AT_ONCE]


def _spans(spans: Sequence[Span]) -> dict[str, Any]:
    return {
        "prefixes": [each.prefix for each in spans],
        "low": [each.low for each in spans],
        "settled": [each.settled for each in spans],
    }


def _suppressing(spans: Sequence[Span], window: Window) -> dict[str, Any]:
    return {
        **_spans(spans),
        "first_day": window.first_day,
        "types": sorted(SUPPRESSING_TYPES | BOUNCE_TYPES),
        "bounces": sorted(BOUNCE_TYPES),
        "classes": sorted(SUPPRESSING_BOUNCE_CLASSES),
        "white": WHITE,
    }
