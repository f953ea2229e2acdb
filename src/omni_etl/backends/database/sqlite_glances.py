"""Glances: questions of a few pages, asked of SQLite on the loop itself, a thousand times a second.

A suppression check took 0.9 ms of CPU, most of it changes of threads and SQLAlchemy's own work; this way it takes a tenth.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Select
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.exc import DBAPIError

_DIALECT: Final = dialect()


class Glances:
    """One connection that cannot write and waits for nobody; made anew where another file stands at the path."""

    def __init__(self, path: Path, spot: Callable[[], object]) -> None:
        self._path = path
        self._spot = spot
        self._connection: sqlite3.Connection | None = None
        self._connected_to: object = None
        self._texts: dict[Select[Any], str] = {}

    def rows(self, statement: Select[Any], keys: Sequence[str | int]) -> Sequence[Sequence[Any]]:
        """All of them, in one moment.

        Raises:
            DBAPIError: what sqlite3 said.

        """
        text = self.text(statement)
        try:
            return self._connected().execute(text, keys).fetchall()
        except sqlite3.Error as error:
            raise DBAPIError(text, None, error) from error

    def text(self, statement: Select[Any]) -> str:
        """As SQLite reads it; compiled once."""
        text = self._texts.get(statement)
        if text is None:
            text = self._texts[statement] = str(statement.compile(dialect=_DIALECT))
        return text

    def close(self) -> None:
        """The next glance opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> sqlite3.Connection:
        spot = self._spot()
        if self._connection is None or spot != self._connected_to:
            self.close()
            uri = f"{self._path.as_uri()}?mode=rw"  # rw: a file that vanished is missed, not silently made anew
            self._connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)
            self._connection.execute("PRAGMA query_only=ON")
            self._connected_to = spot
        return self._connection
