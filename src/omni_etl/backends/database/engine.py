"""Database: one part of the database, its connections and its transactions; the only place that begins one.

Every effect is one short transaction: under 50 ms or 500 rows, else the others wait (a one-row write beside three bulk
writers waited 1.9 s at p99). `omni_database_write_seconds` shows whether that holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import Connection, Select, Table
from sqlalchemy.ext.asyncio import AsyncConnection

from omni_etl import telemetry
from omni_etl.backends.database.migrate import Part, setting_name
from omni_etl.backends.database.postgresql import Postgresql
from omni_etl.backends.database.product import Insert, Product, Value
from omni_etl.backends.database.sqlite import Sqlite
from omni_etl.clock import Clock
from omni_etl.errors import SettingsError, UnavailableError


def open_database(url: str, part: Part, clock: Clock) -> Database:
    """One part of the database at `url`, not yet connected; see `sqlite.path_of` and `postgresql.place_of` for its form.

    Raises:
        SettingsError: an unknown scheme, or a URL that names nothing.

    """
    scheme = url.partition(":")[0]  # the scheme alone is shown: what follows may hold a password
    if scheme == "sqlite":
        return Database(Sqlite(url, part), part, clock)
    if scheme == "postgresql":
        return Database(Postgresql(url, part), part, clock)
    fix = "Write sqlite:///PATH or postgresql://user:password@host:port/name."
    raise SettingsError(setting_name(part), f"the scheme {scheme!r}", fix)


class Database:
    """One part, shared by the contracts that live in it; each opens and closes it with itself as the holder.

    Writers of this process take turns in the order in which they came, as many at once as the product bears. Readers see
    what was committed when they began.
    """

    def __init__(self, product: Product, part: Part, clock: Clock) -> None:
        self.product = product
        self._clock = clock
        self._turn = asyncio.Semaphore(product.writers_max)
        self._opening = asyncio.Lock()
        self._holders: set[object] = set()
        self._migrated = False
        self._write_seconds = telemetry.database_write_seconds.labels(part)

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return self.product.place

    async def open(self, holder: object) -> None:
        """Migrate, once.

        Raises:
            SettingsError: what waiting cannot heal, such as a schema newer than this program.
            UnavailableError: it cannot be reached.

        """
        async with self._opening:
            if not self._migrated:
                with self._translated():
                    await self.product.migrate()
                self._migrated = True
            self._holders.add(holder)

    async def close(self, holder: object) -> None:
        """The last holder closes the connections."""
        self._holders.discard(holder)
        if not self._holders:
            await self.product.close()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads."""
        with self._translated():
            async with (
                asyncio.timeout(self.product.transaction_seconds_max),
                self.product.readers.begin() as connection,
            ):
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is durable when this block ends without an error; an error leaves nothing behind."""
        async with self._in_turn(), self.product.writer.begin() as connection:
            yield connection

    async def read(self, work: Callable[[Connection], Value]) -> Value:
        """`reading` for the hot paths: `work` is a whole transaction, made in one go. See `write`."""
        with self._translated():
            async with asyncio.timeout(self.product.transaction_seconds_max):
                return await self.product.read(work)

    async def glance(self, statement: Select[Any], *keys: str | int) -> Sequence[Sequence[Any]]:
        """Rows of a SELECT that is asked a thousand times a second; see `Product.glance`."""
        with self._translated():
            return await self.product.glance(statement, keys)

    async def write(self, work: Callable[[Connection], Value]) -> Value:
        """`writing` for the hot paths: `work` is a whole transaction, made in one go.

        It may run in another thread, so it touches nothing but its connection and what is given to it. Cancelled, the
        transaction may have happened, as always; it is over when the caller hears of it.
        """
        async with self._in_turn():
            return await self.product.write(work)

    def insert(self, table: Table) -> Insert:
        """An INSERT that knows `ON CONFLICT`."""
        return self.product.insert(table)

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        async with self._turn:
            started = self._clock.monotonic()
            spot = self.product.spot()
            with self._translated():
                async with asyncio.timeout(self.product.transaction_seconds_max):
                    yield
            if self.product.spot() != spot:
                raise UnavailableError(f"{self.place}: the file was replaced during a write")
            self._write_seconds.observe(self._clock.monotonic() - started)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self.product.errors as error:
            reason = self.product.trouble(error)
            if reason is None:
                raise
            raise UnavailableError(f"{self.place}: {reason}") from error


class Holder:
    """A contract that lives in a part, perhaps beside others, with the time as its tables count it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def open(self) -> None:
        """Connect and migrate."""
        await self._database.open(self)

    async def close(self) -> None:
        """Give back connections."""
        await self._database.close(self)

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)
