"""The database as this world has it: the real contracts on a real SQLite in memory, whose transactions may be refused or unsure."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, Select, Table, create_engine, event
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool
from tests.simulation.faults import Faults

from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.migrate import Part, migrate
from omni_etl.backends.database.product import Value
from omni_etl.clock import Clock


class DatabaseFile:
    """What every process of the world connects to."""

    def __init__(self, part: Part, faults: Faults) -> None:
        self.part: Part = part
        self.faults = faults
        self.raw = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.raw.deserialize(empty(part))
        self.engine: Engine = create_engine("sqlite://", creator=lambda: self.raw, poolclass=StaticPool)
        event.listen(self.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))

    def connect(self, clock: Clock) -> Database:
        """One process's own."""
        return Database(_Product(self), self.part, clock)

    def close(self) -> None:
        """It goes with its world."""
        self.engine.dispose()
        self.raw.close()

    def transact(self, work: Callable[[Connection], Value]) -> Value:
        """One transaction, in one go."""
        with self.engine.begin() as connection:
            return work(connection)


class _Product:
    """A product beside SQLite's and PostgreSQL's: its transactions are made at once, or were, or will be."""

    writers_max = 1
    transaction_seconds_max: float | None = None
    errors: tuple[type[Exception], ...] = (OperationalError,)

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file
        self.place = f"the simulated {file.part}"
        self.writer: Any = _Transactions(file, "write")
        self.readers: Any = _Transactions(file, "read")

    async def migrate(self) -> None:
        await self._file.faults.call("database", _nothing, may=("refused", "slow"), error=_error)

    async def close(self) -> None:
        pass

    async def read(self, work: Callable[[Connection], Value]) -> Value:
        return await self._call("read", work)

    async def write(self, work: Callable[[Connection], Value]) -> Value:
        return await self._call("write", work)

    async def glance(self, statement: Select[Any], keys: Sequence[str | int]) -> Sequence[Sequence[Any]]:
        text = str(statement.compile(self._file.engine))
        return await self._call("read", lambda connection: connection.exec_driver_sql(text, tuple(keys)).all())

    def trouble(self, error: Exception) -> str | None:
        return str(error.orig) if isinstance(error, OperationalError) and "seed" in str(error.orig) else None

    def insert(self, table: Table) -> Insert:
        return insert(table)

    def spot(self) -> object:
        return 0

    async def _call(self, kind: str, work: Callable[[Connection], Value]) -> Value:
        """`late`: given up here, and done there a while later, as a commit whose answer never came."""

        async def effect() -> Value:
            return self._file.transact(work)

        may = ("refused", "answer lost", "late", "never", "slow")
        return await self._file.faults.call(f"database {kind}", effect, may=may, error=_error)


class _Transactions:
    """What `AsyncEngine.begin` is to its callers: statements in between do not wait, so the whole is one step."""

    def __init__(self, file: DatabaseFile, kind: str) -> None:
        self._file = file
        self._kind = kind

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Any]:
        await self._file.faults.call(f"database {self._kind}", _nothing, may=("refused", "slow"), error=_error)
        with self._file.engine.begin() as connection:
            yield _Connection(connection)
        if self._file.faults.happens(f"database {self._kind} answer lost"):
            raise _error("answer lost")


class _Connection:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(self, *args: Any) -> Any:
        return self._connection.execute(*args)


async def _nothing() -> None:
    await asyncio.sleep(0)


def _error(fate: str) -> OperationalError:
    return OperationalError("", None, sqlite3.OperationalError(f"database is locked: {fate}, as this seed wants it"))


@cache
def empty(part: Part) -> bytes:
    """An empty database of this part: to migrate takes longer than a run."""
    raw = sqlite3.connect(":memory:", isolation_level=None)
    engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
    with engine.begin() as connection:
        migrate(connection, part, place="memory")
    content = raw.serialize()
    engine.dispose()
    raw.close()
    return content
