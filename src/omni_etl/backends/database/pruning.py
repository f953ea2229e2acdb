"""Pruning: what is too old to matter goes in bounded deletes beside the work, so that no file grows for ever."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, Table, delete, select, tuple_

from omni_etl.backends.database.engine import Database
from omni_etl.clock import Clock
from omni_etl.errors import UnavailableError

ROWS_MAX: Final = 500  # of one delete, see engine.py
PAUSE_SECONDS: Final = 60.0


class Pruning:
    """Rows of one table that may go. `run` is called after each piece of work and is nearly always a glance at the clock."""

    def __init__(self, database: Database, clock: Clock, *, rows_max: int = ROWS_MAX) -> None:
        self._database = database
        self._clock = clock
        self._rows_max = rows_max
        self._next_at: dict[Table, float] = {}

    def is_due(self, table: Table) -> bool:
        """Whether `run` would look; to ask before a condition is made, where that is often."""
        return self._clock.monotonic() >= self._next_at.get(table, 0.0)

    async def run(self, table: Table, condition: ColumnElement[bool]) -> int:
        """Delete up to `rows_max` rows, at most once a minute, or again at once while there are more; how many went.

        Never raises `UnavailableError`: the work before it stands, and the rows go another time.
        """
        if not self.is_due(table):
            return 0
        key = tuple_(*table.primary_key.columns)
        old = select(*table.primary_key.columns).where(condition).limit(self._rows_max)
        try:
            async with self._database.writing() as connection:
                # The condition again: another's write since `old` looked (PostgreSQL waits for it) may have saved the row.
                gone = (await connection.execute(delete(table).where(key.in_(old), condition))).rowcount
        except UnavailableError:
            gone = 0
        self._next_at[table] = self._clock.monotonic() + (PAUSE_SECONDS if gone < self._rows_max else 0.0)
        return gone
