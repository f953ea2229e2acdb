"""Database: one part of the database, its connections and its transactions; the only place that begins one.

Every effect is one short transaction: under 50 ms or 500 rows, else the others wait (a one-row write beside three bulk
writers waited 1.9 s at p99). `omni_database_write_seconds` shows whether that holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection

from omni_etl import telemetry
from omni_etl.backends.database import sqlite
from omni_etl.backends.database.migrate import Part, setting_name
from omni_etl.clock import Clock
from omni_etl.errors import SettingsError, UnavailableError

SCHEME: Final = "sqlite:///"


def open_database(url: str, part: Part, clock: Clock) -> Database:
    """One part of the database at `url`, not yet connected: `sqlite:///directory`, for the queue `sqlite:///file`.

    As in SQLAlchemy, what follows the third slash is the path: `sqlite:////var/lib/omni` is absolute.

    Raises:
        SettingsError: an unknown scheme, or no path.

    """
    scheme, separator, place = url.partition(SCHEME)
    if scheme or not separator or not place:
        found = url.partition(":")[0]  # the scheme alone: what follows may hold a password
        raise SettingsError(setting_name(part), f"the scheme {found!r}", f"Write {SCHEME}PATH.")
    path = Path(place).absolute()
    if part != "queue":
        return Database(path / f"{part}.sqlite", part, clock)
    if path.is_dir():
        raise SettingsError(setting_name(part), f"the directory {path}", "Name a file in it, such as queue.sqlite.")
    return Database(path, part, clock)


class Database:
    """One part, shared by the contracts that live in it; each opens and closes it with itself as the holder.

    Writers of this process queue for one connection in the order in which they came: SQLite's own busy-waiting is not
    fair. Readers have a small pool and see what was committed when they began.
    """

    def __init__(self, path: Path, part: Part, clock: Clock) -> None:
        self.path = path
        self.part: Part = part
        self._clock = clock
        self._writer = sqlite.writer(path)
        self._readers = sqlite.readers(path)
        self._turn = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._holders: set[object] = set()
        self._migrated = False
        self._write_seconds = telemetry.database_write_seconds.labels(part)

    async def open(self, holder: object) -> None:
        """Migrate, once. A file that vanishes later is waited for, never made anew: an empty ledger would tell lies.

        Raises:
            SettingsError: a schema newer than this program.
            UnavailableError: the file cannot be opened.

        """
        async with self._opening:
            if not self._migrated:
                with self._translated():
                    await asyncio.to_thread(sqlite.migrate_file, self.path, self.part)
                self._migrated = True
            self._holders.add(holder)

    async def close(self, holder: object) -> None:
        """The last holder closes the connections."""
        self._holders.discard(holder)
        if not self._holders:
            await self._writer.dispose()
            await self._readers.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads."""
        with self._translated():
            async with self._readers.begin() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is durable when this block ends without an error; an error leaves nothing behind."""
        async with self._turn:
            started = self._clock.monotonic()
            place = sqlite.place(self.path)
            with self._translated():
                async with self._writer.begin() as connection:
                    yield connection
            if sqlite.place(self.path) != place:
                # Committed into a file that was unlinked or replaced meanwhile: it may reach nobody.
                raise UnavailableError(f"{self.path}: the file was replaced during a write")
            self._write_seconds.observe(self._clock.monotonic() - started)

    def insert(self, table: Table) -> sqlite.Insert:
        """An INSERT that knows `ON CONFLICT`."""
        return sqlite.insert(table)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if not sqlite.is_trouble(error):
                raise
            raise UnavailableError(f"{self.path}: {error.orig}") from error
        except (OSError, PoolTimeoutError) as error:
            raise UnavailableError(f"{self.path}: {error}") from error
