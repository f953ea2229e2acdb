"""Store in memory, for tests and simulation: as strict as ClickHouse about blocks and tokens, and it knows our queries."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from omni_etl import sql
from omni_etl.clock import Clock, SystemClock
from omni_etl.errors import LeaseLapsedError
from omni_etl.store import Marker

Rows = list[dict[str, Any]]


class MemoryStore:
    """Keeps the rows of every block. Several services may share one, as they share an engine."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._rows: dict[str, Rows] = defaultdict(list)
        self._markers: dict[tuple[str, str], Marker] = {}
        self._tokens: set[tuple[str, str]] = set()

    async def open(self) -> None:
        """There is nothing to reach."""

    async def close(self) -> None:
        """What is stored stays."""

    @property
    def inserts_absent(self) -> bool:
        """Asking and inserting are one step here."""
        return True

    async def markers(self, table: str, keys: Sequence[str]) -> Mapping[str, Marker]:
        """The marker rows of these envelopes in `table`, as far as they stand."""
        return {key: self._markers[table, key] for key in keys if (table, key) in self._markers}

    async def insert_absent(self, table: str, columns: Any, *, keys: Sequence[str]) -> bool:
        """Insert the rows of all these envelopes, unless one stands."""
        if await self.markers(table, keys):
            return False
        self._write(table, columns)
        return True

    async def insert(self, table: str, columns: Any, *, token: str, until: float) -> None:
        """Insert a `pyarrow.Table` as one block; a token that was used answers OK and writes nothing."""
        if self._clock.now() >= until:
            raise LeaseLapsedError("the insert came after its lease")
        if (table, token) in self._tokens:
            return
        self._tokens.add((table, token))
        self._write(table, columns)

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        """Run one of the queries in `sql/queries` that this fake knows."""
        return _QUERIES[sql](self._rows, parameters or {})

    def _write(self, table: str, columns: Any) -> None:
        assert len(columns.combine_chunks().to_batches()) == 1, "one insert is one block"
        for row in columns.to_pylist():
            if row["marker_key"]:
                self._markers[table, row["marker_key"]] = Marker(row["checksum"], row["row_count"])
            else:
                self._rows[table].append(row)


def _message_events_count(rows: Mapping[str, Rows], _: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    return [(len(rows["message_events"]),)]


def _message_events_raw(rows: Mapping[str, Rows], parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    wanted = parameters["event_ids"]
    found = [each for each in rows["message_events"] if not wanted or each["event_id"] in wanted]
    found.sort(key=lambda each: (each["timestamp"], each["envelope_key"], each["line_number"]), reverse=True)
    return [(each["raw"].decode(),) for each in found[: parameters["limit"]]]


def _metrics_by_type(rows: Mapping[str, Rows], _: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    counted: Counter[str] = Counter()
    for each in rows["metrics"]:
        if each["family"] == "type":
            counted[each["measure"]] += each["events"]
    return sorted(counted.items())


_QUERIES: Final[dict[str, Callable[[Mapping[str, Rows], Mapping[str, Any]], Sequence[Sequence[Any]]]]] = {
    sql.query("message_events_count"): _message_events_count,
    sql.query("message_events_raw"): _message_events_raw,
    sql.query("metrics_by_type"): _metrics_by_type,
}
