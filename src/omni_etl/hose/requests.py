"""Requests: recognise one that was answered before, within a day or the last million, also after a restart.

A SQLite file beside the spool, not a dict: a million of them would not fit the memory of this process. The spool's
ACCEPTED records are its write-ahead log: recovery replays them, and no segment is deleted before this file is durable.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from omni_etl.clock import Clock
from omni_etl.errors import IntakeError
from omni_etl.hose.answer import Answer
from omni_etl.hose.records import Answered
from omni_etl.telemetry import get_logger

FILE_NAME: Final = "requests.sqlite"
FILE_BYTES_MAX: Final = 1024 * 1024 * 1024  # long lists of rejections must not fill a disk
UNSAVED_COUNT_MAX: Final = 100_000

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, body BLOB NOT NULL, answer BLOB NOT NULL, at_seconds INTEGER NOT NULL
)
"""
_answer: Final = msgspec.json.Decoder(Answer)


@dataclass(frozen=True, slots=True)
class RememberLimits:
    """How many requests are remembered, and for how long."""

    count_max: int
    age_seconds_max: int


class RequestMemory:
    """The answered requests. `find` belongs to the loop's thread, the rest to the one that commits."""

    def __init__(self, directory: Path, *, clock: Clock, limits: RememberLimits) -> None:
        self._path = directory / FILE_NAME
        self._clock = clock
        self._limits = limits
        self._unsaved: dict[bytes, Answered] = {}
        self._reader, self._writer = _connect(self._path)

    def find(self, name: bytes) -> Answered | None:
        """The request of this name, if it was answered and is not forgotten.

        Raises:
            IntakeError: 503, we cannot tell.

        """
        if (unsaved := self._unsaved.get(name)) is not None:
            return unsaved
        try:
            row = self._reader.execute(
                "SELECT body, answer, at_seconds FROM requests WHERE name = ?", (name,)
            ).fetchone()
        except sqlite3.Error as error:
            get_logger().error("hose_spool_failed", path=str(self._path), reason=str(error))
            raise IntakeError(503, "the memory of requests does not answer", retry_after_seconds=5) from None
        if row is None or row[2] < self._oldest_seconds():
            return None
        return Answered(name=name, body=row[0], answer=_answer.decode(row[1]), at_seconds=row[2])

    @property
    def is_full(self) -> bool:
        """The file refuses writes and memory holds as much as it may."""
        return len(self._unsaved) >= UNSAVED_COUNT_MAX

    def remember(self, requests: Sequence[Answered]) -> None:
        """Keep these, and what could not be written before. A refusing disk is no error here: the spool has them."""
        self._unsaved.update((each.name, each) for each in requests)
        if not self._unsaved:
            return
        rows = [
            (each.name, each.body, msgspec.json.encode(each.answer), each.at_seconds) for each in self._unsaved.values()
        ]
        try:
            with _transaction(self._writer) as writer:
                writer.executemany(
                    "INSERT OR REPLACE INTO requests (name, body, answer, at_seconds) VALUES (?, ?, ?, ?)", rows
                )
                self._forget(writer, added=len(rows))
        except sqlite3.Error as error:
            get_logger().error("hose_spool_failed", path=str(self._path), reason=str(error))
        else:
            self._unsaved.clear()

    def make_durable(self) -> bool:
        """Whether all that was ever remembered is on the disk now; only then may segments go."""
        self.remember(())
        if self._unsaved:
            return False
        try:
            busy, _, _ = self._writer.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
        except sqlite3.Error as error:
            get_logger().error("hose_spool_failed", path=str(self._path), reason=str(error))
            return False
        return not busy

    def close(self) -> None:
        """Give back the file."""
        self._reader.close()
        self._writer.close()

    def _forget(self, writer: sqlite3.Connection, *, added: int) -> None:
        oldest = "(SELECT id FROM requests ORDER BY id LIMIT ?)"
        few = 2 * added + 10
        writer.execute("DELETE FROM requests WHERE id <= (SELECT max(id) FROM requests) - ?", (self._limits.count_max,))
        writer.execute(f"DELETE FROM requests WHERE id IN {oldest} AND at_seconds < ?", (few, self._oldest_seconds()))  # noqa: S608 a constant
        (pages,) = writer.execute("PRAGMA page_count").fetchone()
        (free,) = writer.execute("PRAGMA freelist_count").fetchone()
        (page_bytes,) = writer.execute("PRAGMA page_size").fetchone()
        if (pages - free) * page_bytes > FILE_BYTES_MAX:
            writer.execute(f"DELETE FROM requests WHERE id IN {oldest}", (few,))  # noqa: S608 a constant

    def _oldest_seconds(self) -> float:
        return self._clock.now() - self._limits.age_seconds_max


class InFlight:
    """Requests being answered: the second of the same name waits for the first."""

    def __init__(self) -> None:
        self._ended: dict[bytes, asyncio.Event] = {}

    @contextlib.asynccontextmanager
    async def turn(self, name: bytes) -> AsyncIterator[None]:
        """Be the only one of this name for a while. If the one before failed, the next is as good as the first."""
        while (before := self._ended.get(name)) is not None:
            await before.wait()
        mine = self._ended[name] = asyncio.Event()
        try:
            yield
        finally:
            del self._ended[name]
            mine.set()


def _connect(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """Two connections, so that looking up never waits for a commit. A damaged file is set aside: it is only a memory."""
    try:
        return _open(path), _open(path)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode not in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise
        get_logger().error("hose_spool_damaged", path=str(path), reason=str(error))
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(path.with_name(path.name + suffix + ".damaged"))
        return _open(path), _open(path)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
