"""What is PostgreSQL's own: the address, what a session must promise, its locks and its words for trouble."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import asyncpg
from sqlalchemy import Connection, ExceptionContext, Select, Table, event, text
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from omni_etl.backends.database.migrate import Part, migrate, setting_name
from omni_etl.backends.database.product import Product, Value
from omni_etl.backends.database.texts import escaped, restored, shortened
from omni_etl.errors import SettingsError

CONNECTIONS_MAX: Final = 5  # of one part in one process; a whole machine stays below PostgreSQL's default of 100
WRITERS_MAX: Final = 3  # so that readers always find a connection
CONNECT_SECONDS_MAX: Final = 5.0
LOCK_SECONDS_MAX: Final = 5
STATEMENT_SECONDS_MAX: Final = 10  # the server's own limit; ours is a little longer, for a server that hangs
ANSWER_SECONDS_MAX: Final = 12.0
TRANSACTION_SECONDS_MAX: Final = 20.0
CONNECTION_SECONDS_MAX: Final = 300  # then it is made anew: fail-overs rebalance, and no firewall forgets an idle one
DURABLE: Final = frozenset({"on", "remote_apply"})  # weaker: off, local, remote_write
ADVISORY_LOCK: Final = int.from_bytes(b"omni-etl")  # of those who change the schema

# By class (the first two characters) or whole: https://www.postgresql.org/docs/current/errcodes-appendix.html
_TROUBLE: Final = (
    "08",  # connection
    "28",  # credentials: refused at start, see `_REJECTED`; later somebody is changing them
    "40",  # serialization, deadlock
    "53",  # disk full, out of memory, too many connections
    "55",  # a lock that was not to be had in time
    "57",  # shutting down, starting up, cancelled, statement_timeout
    "58",  # input and output
    "F0",  # configuration file
    "XX",  # internal, damaged
    "25006",  # a standby, or a primary that became one
    "25P03",  # idle in a transaction for too long
    "3D000",  # no such database yet
    "3F000",  # no schema that this user may use
    "42501",  # rights
    "42P01",  # no such table: an empty database was put in place of ours
)
_REJECTED: Final = ("28", "3F000", "42501")

_HOST: Final = r"(?:[^@:/?#,\[\]]+|\[[0-9a-fA-F:.]+\])(?::\d+)?"
_URL: Final = re.compile(
    rf"postgresql://(?:[^@/?#]*@)?(?P<hosts>(?:{_HOST}(?:,{_HOST})*)?)/(?P<name>[^@/?#]+)(?:\?[^@#]*)?"
)


class Postgresql(Product):
    """A part in a database that other parts, and other programs, may share.

    What follows `?` in the URL is as in libpq: `sslmode=verify-full`, `sslrootcert=…`, `target_session_attrs=read-write`
    with several hosts for a fail-over. A pooler in between must be in session mode.
    """

    writers_max = WRITERS_MAX
    transaction_seconds_max = TRANSACTION_SECONDS_MAX
    # The last: what asyncpg says where a connection ended under its hands as it began to speak.
    errors = (
        DBAPIError,
        PoolTimeoutError,
        OSError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    )

    def __init__(self, url: str, part: Part) -> None:
        self._url = url
        self._part: Part = part
        self.place = place_of(url, part)
        self.writer = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect_again,
            isolation_level="READ COMMITTED",
            pool_size=CONNECTIONS_MAX,
            max_overflow=0,
            pool_timeout=CONNECT_SECONDS_MAX,
            pool_recycle=CONNECTION_SECONDS_MAX,
        )
        self._glances: dict[Select[Any], str] = {}
        event.listen(self.writer.sync_engine, "handle_error", _leave_standbys)
        self.readers = self.writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    async def migrate(self) -> None:
        """In a thread with a loop of its own: alembic blocks, and holds a lock while it waits for the server."""
        await asyncio.to_thread(lambda: asyncio.run(self._migrate()))

    async def close(self) -> None:
        """One pool serves readers and writers."""
        await self.writer.dispose()

    async def read(self, work: Callable[[Connection], Value]) -> Value:
        """On the loop: asyncpg needs no thread."""
        async with self.readers.begin() as connection:
            return await connection.run_sync(work)

    async def glance(self, statement: Select[Any], keys: Sequence[str | int]) -> Sequence[Sequence[Any]]:
        """By the driver itself: a statement alone is a transaction, and its plan is kept on the connection."""
        text = self._glances.get(statement)
        if text is None:
            text = self._glances[statement] = str(statement.compile(dialect=self.writer.dialect))
        values = [escaped(shortened(each)) if isinstance(each, str) else each for each in keys]
        async with asyncio.timeout(TRANSACTION_SECONDS_MAX), self.writer.connect() as connection:
            raw: Any = (await connection.get_raw_connection()).driver_connection
            try:
                rows = await raw.fetch(text, *values)
            except BaseException as error:
                await connection.invalidate()  # SQLAlchemy did not see what happened to it
                if isinstance(error, self.errors):
                    await self.writer.dispose()  # nor that the others may have met the same end
                raise
        return [[restored(each) if isinstance(each, str) else each for each in row] for row in rows]

    async def write(self, work: Callable[[Connection], Value]) -> Value:
        """Likewise."""
        async with self.writer.begin() as connection:
            return await connection.run_sync(work)

    def trouble(self, error: Exception) -> str | None:
        """Everything the server or the way to it may do to us; a broken constraint or bad SQL is a fault of ours."""
        cause = _cause(error)
        state = getattr(cause, "sqlstate", None)
        if state is not None:
            return str(cause) if state.startswith(_TROUBLE) else None
        if isinstance(cause, asyncpg.InterfaceError) and not _is_broken(error, cause):
            return None
        return str(cause) or "no answer in time"

    def insert(self, table: Table) -> Insert:
        """PostgreSQL's."""
        return insert(table)

    def spot(self) -> None:
        """A connection ends with its server, so nothing can be put in its place unseen."""

    async def _migrate(self) -> None:
        engine = create_async_engine("postgresql+asyncpg://", async_creator=self._connect, poolclass=NullPool)
        try:
            async with asyncio.timeout(TRANSACTION_SECONDS_MAX), engine.begin() as connection:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
                await connection.run_sync(migrate, self._part, place=self.place)
        except self.errors as error:
            cause = _cause(error)
            if isinstance(cause, asyncpg.exceptions.ClientConfigurationError):
                raise SettingsError(setting_name(self._part), f"an address with a fault: {cause}", FORM) from None
            if getattr(cause, "sqlstate", "").startswith(_REJECTED):
                fix = "Correct user, password or the rights of this user (it makes its tables itself)."
                raise SettingsError(setting_name(self._part), f"{self.place}, which says: {cause}", fix) from None
            raise

    async def _connect(self) -> asyncpg.Connection[Any]:
        connection = await asyncpg.connect(
            self._url,
            timeout=CONNECT_SECONDS_MAX,
            command_timeout=ANSWER_SECONDS_MAX,
            server_settings={
                "application_name": f"omni-etl {self._part}",
                "statement_timeout": f"{STATEMENT_SECONDS_MAX}s",
                "lock_timeout": f"{LOCK_SECONDS_MAX}s",
                "idle_in_transaction_session_timeout": f"{TRANSACTION_SECONDS_MAX:.0f}s",
            },
        )
        try:
            await self._check_durable(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _connect_again(self) -> asyncpg.Connection[Any]:
        """For the pool: what is refused at start is an outage later, and heals when somebody puts it right."""
        try:
            return await self._connect()
        except SettingsError as error:
            raise ConnectionError(str(error)) from None

    async def _check_durable(self, connection: asyncpg.Connection[Any]) -> None:
        """Look on the very connection that writes, and hold what was found: a reload of the server may weaken the default.

        Raises:
            SettingsError: a commit would be answered before it is on the disk.

        """
        found = {name: await connection.fetchval(f"SHOW {name}") for name in ("synchronous_commit", "fsync")}
        if found["synchronous_commit"] not in DURABLE or found["fsync"] != "on":
            words = ", ".join(f"{name} = {value}" for name, value in found.items())
            fix = "Set both to on, for this server, database, user and URL: what we confirm must be on the disk."
            raise SettingsError(setting_name(self._part), f"{words} at {self.place}", fix)
        await connection.execute(f"SET synchronous_commit = {found['synchronous_commit']}")


FORM: Final = (
    "Write postgresql://user:password@host:port/name, with @ : / ? # in user and password percent-encoded (%40 is @)."
)


def place_of(url: str, part: Part) -> str:
    """Hosts and database of `postgresql://user:password@host:port/name`.

    Raises:
        SettingsError: another form; nothing of it is shown, since a password may stand where we did not expect it.

    """
    found = _URL.fullmatch(url)
    if found is None:
        raise SettingsError(setting_name(part), "an address that cannot be read", FORM)
    return f"postgresql://{found['hosts']}/{found['name']}"


def _cause(error: BaseException) -> BaseException:
    """What asyncpg itself said: SQLAlchemy wraps it twice."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error


def _is_broken(error: Exception, cause: BaseException) -> bool:
    """A connection that is gone; asyncpg has one class for this and for wrong use."""
    return "closed" in str(cause) or (isinstance(error, DBAPIError) and error.connection_invalidated)


def _leave_standbys(context: ExceptionContext) -> None:
    """A primary that became a standby keeps our connections; only new ones find the new primary."""
    cause = _cause(context.sqlalchemy_exception or context.original_exception)
    if getattr(cause, "sqlstate", None) == asyncpg.ReadOnlySQLTransactionError.sqlstate:
        context.is_disconnect = True
