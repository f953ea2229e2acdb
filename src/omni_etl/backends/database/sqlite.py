"""What is SQLite's own: the file, its pragmas, its locks and its words for trouble. PostgreSQL's stands beside it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, Select, Table, create_engine, event
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from omni_etl.backends.database.migrate import Part, migrate, setting_name
from omni_etl.backends.database.product import Product, Value
from omni_etl.backends.database.sqlite_glances import Glances
from omni_etl.backends.database.sqlite_threads import Threaded
from omni_etl.errors import SettingsError

PREFIX: Final = "sqlite:///"
READERS_MAX: Final = 4
PAGE_BYTES: Final = 8192
BUSY_MS_MAX: Final = 10_000  # another process may write; longer than this is trouble
WAL_BYTES_KEPT: Final = 64 * 1024 * 1024

# What waiting or a human can heal. Everything else is a fault of ours and is not dressed up as an outage.
_TROUBLE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)


class Sqlite(Product):
    """A file. One connection writes, because SQLite's own busy-waiting is not fair; readers have a small pool.

    A file that vanishes later is waited for, never made anew: an empty ledger would tell lies.
    """

    writers_max = 1
    transaction_seconds_max = None
    errors = (DBAPIError, PoolTimeoutError, OSError)

    def __init__(self, url: str, part: Part) -> None:
        self._part: Part = part
        self._path = path_of(url, part)
        self.place = str(self._path)
        self.writer = writer(self._path)
        self.readers = readers(self._path)
        self._threaded_writer = threaded_writer(self._path)
        self._threaded_readers = threaded_readers(self._path)
        self._glances = Glances(self._path, self.spot)

    async def migrate(self) -> None:
        """Make the file, too."""
        await asyncio.to_thread(migrate_file, self._path, self._part)

    async def close(self) -> None:
        """All four pools, and the one that glances."""
        self._glances.close()
        await self.writer.dispose()
        await self.readers.dispose()
        await self._threaded_writer.dispose()
        await self._threaded_readers.dispose()

    async def read(self, work: Callable[[Connection], Value]) -> Value:
        """In a thread, from beginning to end."""
        return await self._threaded_readers.transact(work)

    async def glance(self, statement: Select[Any], keys: Sequence[str | int]) -> Sequence[Sequence[Any]]:
        """On the loop: it reads some four pages, and a thread costs ten times as much. It never waits for a lock there."""
        try:
            return self._glances.rows(statement, keys)
        except DBAPIError as error:
            if not _is_locked(error):
                raise
        text = self._glances.text(statement)
        return await self.read(lambda connection: connection.exec_driver_sql(text, tuple(keys)).all())

    async def write(self, work: Callable[[Connection], Value]) -> Value:
        """Likewise, on a connection of its own beside `writer`'s: SQLite and our turns keep the two apart."""
        return await self._threaded_writer.transact(work)

    def trouble(self, error: Exception) -> str | None:
        """Disk, lock or file."""
        if not isinstance(error, DBAPIError):
            return str(error)
        return str(error.orig) if is_trouble(error) else None

    def insert(self, table: Table) -> Insert:
        """SQLite's."""
        return insert(table)

    def spot(self) -> tuple[int, int] | None:
        """Which file stands there: one that was unlinked or replaced meanwhile reaches nobody."""
        return place(self._path)


def path_of(url: str, part: Part) -> Path:
    """The file that a URL names: `sqlite:///directory`, for the queue `sqlite:///file`.

    As in SQLAlchemy, what follows the third slash is the path: `sqlite:////var/lib/omni` is absolute.

    Raises:
        SettingsError: no path, or a directory where a file is wanted.

    """
    if not url.startswith(PREFIX) or url == PREFIX:
        raise SettingsError(setting_name(part), f"no path after {PREFIX}", f"Write {PREFIX}PATH.")
    path = Path(url.removeprefix(PREFIX)).absolute()
    if part != "queue":
        return path / f"{part}.sqlite"
    if path.is_dir():
        raise SettingsError(setting_name(part), f"the directory {path}", "Name a file in it, such as queue.sqlite.")
    return path


def writer(path: Path) -> AsyncEngine:
    """The one writing connection: every transaction takes the write lock at its beginning, and is on disk when it ends.

    A transaction that began as a reader and writes later fails at once where another process writes.
    """
    engine = create_async_engine(_url(path, "aiosqlite"), pool_size=1, max_overflow=0, connect_args=_CONNECT)
    _writes(engine.sync_engine, path)
    return engine


def threaded_writer(path: Path) -> Threaded:
    """Another such connection, for transactions in one go."""
    engine = create_engine(_url(path, "pysqlite"), pool_size=1, max_overflow=0, connect_args=_CONNECT)
    _writes(engine, path)
    return Threaded(engine, threads_max=1)


def readers(path: Path) -> AsyncEngine:
    """Connections that cannot write."""
    engine = create_async_engine(_url(path, "aiosqlite"), pool_size=READERS_MAX, max_overflow=0, connect_args=_CONNECT)
    _reads(engine.sync_engine, path)
    return engine


def threaded_readers(path: Path) -> Threaded:
    """Other such connections, for transactions in one go."""
    engine = create_engine(_url(path, "pysqlite"), pool_size=READERS_MAX, max_overflow=0, connect_args=_CONNECT)
    _reads(engine, path)
    return Threaded(engine, threads_max=READERS_MAX)


def migrate_file(path: Path, part: Part) -> None:
    """Make the file and bring its schema up to this program; safe in many processes at once. Blocks.

    Raises:
        OSError: it was made before and is gone. An empty one in its place would tell lies, to those that run already, too.

    """
    made = made_mark(path)
    if made.exists() and not path.exists():
        raise FileNotFoundError(f"it was here and is gone: is its disk mounted? For an empty one remove {made}")
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(_url(path, "pysqlite"), poolclass=NullPool, connect_args=_CONNECT)
    _prepare(engine, path, ["synchronous=FULL"])
    event.listen(engine, "begin", _begin_immediate)
    with _locked(path.with_name(path.name + ".lock")):
        _make_file(path)
        with suppress(OSError):  # whoever may not write there goes without
            made.touch()
        with engine.begin() as connection:
            migrate(connection, part, place=str(path))


def made_mark(path: Path) -> Path:
    """What says that the file was made: beside its directory, so that it stays when that one's disk is not mounted."""
    return path.parents[1 if path.parent.name else 0] / f".{path.parent.name}-{path.name}.made"


def is_trouble(error: DBAPIError) -> bool:
    """Whether this is an outage (disk, lock, file) and no fault of ours."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is None:
        return False
    return code & 0xFF in _TROUBLE or "no such table" in str(error.orig)  # an empty file was put in place of ours


def _is_locked(error: DBAPIError) -> bool:
    """Rare for a reader: another process recovers the file after a crash, or is the last to close it."""
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _url(path: Path, driver: str) -> URL:
    # mode=rw: a file that vanished is missed, not silently made anew.
    return URL.create(f"sqlite+{driver}", database=path.as_uri(), query={"mode": "rw", "uri": "true"})


def _writes(engine: Engine, path: Path) -> None:
    _prepare(engine, path, ["foreign_keys=ON", "synchronous=FULL", f"journal_size_limit={WAL_BYTES_KEPT}"])
    event.listen(engine, "begin", _begin_immediate)


def _reads(engine: Engine, path: Path) -> None:
    _prepare(engine, path, ["query_only=ON"])
    event.listen(engine, "begin", _begin)


def _prepare(engine: Engine, path: Path, pragmas: list[str]) -> None:
    def connect(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        for pragma in [f"busy_timeout={BUSY_MS_MAX}", *pragmas]:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        record.info["place"] = place(path)

    def checkout(_connection: Any, record: Any, _proxy: Any) -> None:
        # An unlinked or replaced file would take our writes, and nobody would ever read them.
        if record.info["place"] != place(path):
            raise DisconnectionError(f"{path} is not the file that was opened")

    event.listen(engine, "connect", connect)
    event.listen(engine, "checkout", checkout)


def place(path: Path) -> tuple[int, int] | None:
    """Which file stands at this path; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_file(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
    except sqlite3.Error as error:
        raise OSError(str(error)) from error
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)  # the name of a new file is durable, too
    finally:
        os.close(descriptor)


_CONNECT: Final = {"isolation_level": None}  # the driver begins nothing by itself
