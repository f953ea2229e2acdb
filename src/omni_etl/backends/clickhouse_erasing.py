"""Erasing from ClickHouse: find where a recipient's events stand, delete these rows, look again.

A mutation leaves its text on the disk, so it never names the recipient, only rows; and it rewrites only the parts of a day
that hold some of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

import orjson

from omni_etl import sql
from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.clock import Clock
from omni_etl.errors import UnavailableError
from omni_etl.suppression_list import address_key

ROWS_AT_ONCE: Final = 400  # of one mutation; they travel in the address of a request
LOOK_SECONDS: Final = 0.2
WHITE: Final = " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"  # what `address_key` trims, of ASCII


class ClickHouseEraser:
    """On a store of its own, whose calls may take long: they read whole days."""

    def __init__(self, store: ClickHouseStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def open(self) -> None:
        """Connect and apply the schema."""
        await self._store.open()

    async def close(self) -> None:
        """Give back connections."""
        await self._store.close()

    async def days(self) -> Sequence[date]:
        """The partitions."""
        return [day for (day,) in await self._store.query(sql.query("event_days"))]

    async def erase_events(self, recipient: str, day: date) -> int:
        """Until nothing is found any more."""
        erased = 0
        while rows := await self._find(recipient, day):
            await self._delete(day, rows)
            erased += len(rows)
        return erased

    async def erase_reasons(self, recipient: str) -> int:
        """All days at once: these rows are few."""
        erased = 0
        while found := await self._store.query(sql.query("erasing_reasons"), {"key": recipient, "limit": ROWS_AT_ONCE}):
            for day in sorted({day for day, _, _ in found}):
                hashes = [code for of_day, code, _ in found if of_day == day]
                await self._mutate("metrics", sql.command("erase_reasons"), {"day": day.isoformat(), "hashes": hashes})
            erased += sum(count for _, _, count in found)
        return erased

    async def _find(self, recipient: str, day: date) -> Sequence[tuple[str, int, int]]:
        spelled = await self._store.query(sql.query("erasing_spellings"), {"day": day})
        parameters = {
            "day": day,
            "key": recipient,
            "needle": orjson.dumps(recipient)[1:-1].decode(),  # as a line has it
            "spellings": [spelling for (spelling,) in spelled if address_key(spelling) == recipient],
            "white": WHITE,
            "limit": ROWS_AT_ONCE,
        }
        found = await self._store.query(sql.query("erasing_events"), parameters)
        return [(str(key), int(line), int(at_ms)) for key, line, at_ms in found]

    async def _delete(self, day: date, rows: Sequence[tuple[str, int, int]]) -> None:
        keys, lines, times = zip(*rows, strict=True)
        noted = {"day": day.isoformat(), "keys": list(keys), "lines": list(lines)}
        await self._store.command(sql.command("note_erased_events"), noted)  # first: the audit explains what is missing
        parameters = {
            "day": day.isoformat(),
            "first_ms": min(times),
            "last_ms": max(times),
            "keys": list(keys),
            "lines": list(lines),
        }
        await self._mutate("message_events", sql.command("erase_events"), parameters)

    async def _mutate(self, table: str, statement: str, parameters: dict[str, Any]) -> None:
        """Return when every part is rewritten.

        Raises:
            UnavailableError: one cannot be rewritten now; the engine tries on.

        """
        await self._store.command(statement, parameters)
        while True:
            [(left, _parts, reason)] = await self._store.query(sql.query("mutations_left"), {"table": table})
            if not left:
                return
            if reason:
                raise UnavailableError(f"the store cannot rewrite a part of {table}: {reason}")
            await self._clock.sleep(LOOK_SECONDS)
