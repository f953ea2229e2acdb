"""The engine inside the store host: chDB on one data directory, a connection per worker thread.

Settings are made for a statement with SET and taken back after it; a connection on which that fails is replaced, so no
statement meets what another one set. Nothing is answered before it is durable (`store_sync`), or after a write that the disk
refused (`store_writes`), and an insert may ask that its envelopes be absent (`store_absent`).
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import chdb

from omni_etl import sql
from omni_etl.embedded.store_absent import Claims
from omni_etl.embedded.store_statement import INSERT, READING, Statement
from omni_etl.embedded.store_sync import DirectorySync
from omni_etl.embedded.store_writes import FailedWrites
from omni_etl.errors import SettingsError

LOCK_NAME: Final = "omni-store.lock"
_CODE: Final = re.compile(r"Code: (\d+)\.")
_UNKNOWN_EXCEPTION: Final = 1002
STANDS_ALREADY: Final = 389  # ClickHouse's INSERT_WAS_DEDUPLICATED

# 1 is chDB's own default of the first; a server refuses `1 + 1` without SELECT. 1 became ClickHouse's default of the second with 26.1,
# and costs a search by recipient a fifth to a half more CPU (docs/decisions/0027).
SETTINGS: Final = "implicit_select = 0, use_skip_indexes_on_data_read = 0"


class StatementError(Exception):
    """The engine refused a statement: ClickHouse's code and text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Result:
    """What a statement answered, in its own format."""

    body: bytes
    rows: int
    rows_read: int
    bytes_read: int
    seconds: float


@dataclass(slots=True)
class _Session:
    connection: Any
    database: str = "default"


@dataclass(slots=True)
class Engine:
    """One data directory; `submit` statements to it, from any thread.

    Those who read have workers of their own: a search does not wait for inserts, which wait for the disk, nor they for it.
    """

    directory: Path
    threads: int  # to read, and as many to write
    _reading: ThreadPoolExecutor = field(init=False)
    _writing: ThreadPoolExecutor = field(init=False)
    _lock: int = field(init=False, default=-1)
    _sync: DirectorySync = field(init=False)
    _writes: FailedWrites = field(init=False)
    _sessions: list[_Session] = field(init=False, default_factory=list)
    _local: threading.local = field(init=False, default_factory=threading.local)
    _table_paths: dict[tuple[str, str], list[str]] = field(init=False, default_factory=dict)
    _claims: Claims = field(init=False, default_factory=Claims)

    def open(self) -> None:
        """Take the directory and start the engine.

        Raises:
            SettingsError: another process holds the directory.

        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise SettingsError(
                "OMNI_DATA_DIR",
                f"{self.directory}, held by a running store",
                "Stop that one, or name another directory.",
            ) from None
        self._reading = ThreadPoolExecutor(self.threads, thread_name_prefix="reading")
        self._writing = ThreadPoolExecutor(self.threads, thread_name_prefix="writing")
        self._reading.submit(self._session).result()
        self._sync = DirectorySync(self.directory)
        self._sync.sync_all()  # an earlier process may have died before it synced what can be read now
        self._writes = FailedWrites(self.directory)
        self._writes.watch(lambda: partial(_failed_writes, self._session()))

    def close(self) -> None:
        """Finish what runs, then close the engine and let the directory go."""
        for pool in (self._reading, self._writing):
            pool.shutdown(wait=True)
        self._writes.close()
        for session in self._sessions:
            session.connection.close()
        self._sessions.clear()
        os.close(self._lock)

    def submit(self, statement: Statement) -> Future[Result]:
        """Have it run by the next free worker of its kind; what it wrote and what it read is durable when it is done.

        Raises, when it is done:
            StatementError: as the engine says it, or `STANDS_ALREADY`.

        """
        pool = self._reading if READING.match(statement.sql) else self._writing
        return pool.submit(self._run, statement)

    def _run(self, statement: Statement) -> Result:
        if statement.absent:
            return self._run_absent(statement)
        session = self._session()
        with self._durable(session, statement):
            try:
                self._prepare(session, statement)
                return _query(session, statement.sql, statement.format, statement.parameters)
            finally:
                self._take_back(session, statement.settings)

    def _run_absent(self, statement: Statement) -> Result:
        inserted = INSERT.match(statement.sql)
        assert inserted is not None, "only inserts are asked whether something is absent"
        table = f"{inserted['database'] or statement.database}.{inserted['table']}"
        with self._claims.holding(table, statement.absent):
            if standing := self._standing(statement, inserted["table"]):
                raise StatementError(
                    STANDS_ALREADY, f"{len(standing)} of {len(statement.absent)} envelopes stand already"
                )
            # Any memory of blocks would take a redo for a repetition where a dying engine noted what it never wrote.
            settings = {**statement.settings, "deduplicate_insert": "disable"}
            result = self._run(replace(statement, settings=settings, absent=()))
            if len(self._standing(statement, inserted["table"])) < len(set(statement.absent)):
                raise StatementError(_UNKNOWN_EXCEPTION, "the insert answered OK and its markers are not found")
            return result

    def _standing(self, statement: Statement, table: str) -> list[bytes]:
        """The markers of these envelopes; nobody else is writing one, so what is found was synced by who wrote it."""
        keys = ",".join(map(_literal, statement.absent))
        session = self._session()
        self._prepare(session, replace(statement, settings={}))
        parameters = {"table": table.strip('`"'), "keys": f"[{keys}]"}
        return _query(session, sql.query("markers"), "TabSeparated", parameters).body.splitlines()

    @contextmanager
    def _durable(self, session: _Session, statement: Statement) -> Iterator[None]:
        if READING.match(statement.sql):
            yield
            self._sync.sync_what_inserts_left()
        elif inserted := INSERT.match(statement.sql):
            database = inserted["database"] or statement.database
            paths = self._paths(session, database.strip('`"'), inserted["table"].strip('`"'))
            with self._sync.inserting(paths):
                yield
            self._writes.check(partial(_failed_writes, session))
        else:
            try:
                yield
            finally:
                self._table_paths.clear()  # a table may have been made anew
                self._sync.sync_all()

    def _session(self) -> _Session:
        session: _Session | None = getattr(self._local, "session", None)
        if session is None:
            session = _Session(chdb.connect(str(self.directory)))
            _query(session, f"SET {SETTINGS}")
            self._sessions.append(session)
            self._local.session = session
        return session

    def _prepare(self, session: _Session, statement: Statement) -> None:
        if statement.database != session.database:
            _query(session, f"USE {quoted(statement.database)}")
            session.database = statement.database
        if statement.settings:
            made = ", ".join(f"{quoted(name)} = {_literal(value)}" for name, value in statement.settings.items())
            _query(session, f"SET {made}")

    def _take_back(self, session: _Session, settings: Mapping[str, str]) -> None:
        if not settings:
            return
        try:
            _query(session, "SET " + ", ".join(f"{quoted(name)} = DEFAULT" for name in settings))
        except StatementError:
            self._sessions.remove(session)
            session.connection.close()
            del self._local.session

    def _paths(self, session: _Session, database: str, table: str) -> list[str]:
        paths = self._table_paths.get((database, table), [])
        if not paths:
            found = _query(
                session,
                "SELECT arrayJoin(data_paths) FROM system.tables WHERE database = {database:String} AND name = {table:String}",
                "TabSeparatedRaw",
                {"database": database, "table": table},
            )
            paths = self._table_paths[database, table] = found.body.decode().splitlines()
        return paths


def _failed_writes(session: _Session) -> int:
    return int(_query(session, sql.query("failed_writes"), "TabSeparated").body)


def quoted(name: str) -> str:
    """An identifier that cannot be taken for anything else."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _query(
    session: _Session, sql: str, answer_format: str = "Null", parameters: Mapping[str, str] | None = None
) -> Result:
    try:
        found = session.connection.query(sql, answer_format, params=dict(parameters or {}))
    except RuntimeError as error:  # all that chDB raises
        text = str(error)
        code = _CODE.search(text)
        raise StatementError(int(code[1]) if code else _UNKNOWN_EXCEPTION, text) from None
    return Result(
        found.bytes(), found.rows_read(), found.storage_rows_read(), found.storage_bytes_read(), found.elapsed()
    )
