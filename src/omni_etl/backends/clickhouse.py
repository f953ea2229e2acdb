"""Store on ClickHouse over HTTP: a server, ClickHouse Cloud, or the embedded host; the same dialect for all.

An insert is never repeated here: clickhouse-connect replays a body of bytes when a connection breaks, so ours is a
stream, which it cannot. What may be repeated, and when, is for `insert_once` alone to decide.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import orjson
import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError

from omni_etl import sql
from omni_etl.backends.clickhouse_retention import apply_retention
from omni_etl.backends.clickhouse_verdicts import SETTING, UNKNOWN_SETTING, StandsAlreadyError, judged
from omni_etl.clock import Clock, SystemClock
from omni_etl.errors import SettingsError, UnavailableError
from omni_etl.store import CLOCK_SKEW_SECONDS_MAX, Marker, Retention

DEFAULT_PORTS: Final = {"http": 8123, "https": 8443}
CONNECT_SECONDS_MAX: Final = 5
IDLE_SECONDS_MAX: Final = 2.5  # an older server closes idle connections after 3
MICROSECONDS: Final = 1_000_000
NO_INSERT: Final = "omni_absent goes with an insert"  # in the words of the store host
DATETIME_SECONDS_MAX: Final = 2**32 - 1  # in 2106

# One insert is one block and one part. async_insert is 1 by default and would join inserts of several envelopes;
# wait_end_of_query keeps an error from coming after a 200; the sizes are for users whose profile would split a block.
INSERT_SETTINGS: Final = {
    "async_insert": "0",
    "wait_end_of_query": "1",
    "insert_deduplicate": "1",
    "max_insert_block_size": "10000000",
    "min_insert_block_size_rows": "0",
    "min_insert_block_size_bytes": "0",
    "input_format_null_as_default": "1",
}


class ClickHouseStore:
    """One database of a ClickHouse. `open` makes it and its tables; call it again after `UnavailableError`."""

    def __init__(
        self, url: str, *, timeout_seconds: float, clock: Clock | None = None, retention: Retention | None = None
    ) -> None:
        self._address = _address(url)
        self._retention = retention  # None: as it is
        self._timeout_seconds = timeout_seconds
        self._clock = clock or SystemClock()
        self._client: Any = None
        self._is_host = False

    async def open(self) -> None:
        """Connect and apply the schema.

        Raises:
            SettingsError: rejected credentials, or a schema that is not this program's.
            UnavailableError: no answer, no healthy one, or a clock too far from ours.

        """
        await self.close()
        try:
            await self._connect()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Give back connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    @property
    def inserts_absent(self) -> bool:
        """Only the store host does."""
        return self._is_host

    async def markers(self, table: str, keys: Sequence[str]) -> Mapping[str, Marker]:
        """The marker rows of these envelopes in `table`, as far as they stand."""
        async with judged(self._timeout_seconds):
            found = await self._client.raw_query(
                sql.query("markers"), parameters={"table": table, "keys": list(keys)}, fmt="JSONCompactEachRow"
            )
        rows = map(orjson.loads, found.splitlines())
        return {key: Marker(checksum, row_count) for key, checksum, row_count in rows}

    async def insert_absent(self, table: str, columns: Any, *, keys: Sequence[str]) -> bool:
        """Insert the rows of all these envelopes as one block, unless one stands.

        Raises:
            UnavailableError: nothing is known; the rows may stand.
            PoisonError: the engine refuses these rows, and always will.

        """
        try:
            await self._insert(table, columns, until=DATETIME_SECONDS_MAX, settings={"omni_absent": ",".join(keys)})
        except StandsAlreadyError:
            return False
        return True

    async def insert(self, table: str, columns: Any, *, token: str, until: float) -> None:
        """Insert a `pyarrow.Table` as one block.

        Raises:
            LeaseLapsedError: by the engine's clock it is `until` or later; nothing was written.
            UnavailableError: nothing is known; the rows may stand.
            PoisonError: the engine refuses these rows, and always will.

        """
        await self._insert(table, columns, until=until, settings={"insert_deduplication_token": token})

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        """Run a SELECT; rows in order."""
        async with judged(self._timeout_seconds):
            found = await self._client.query(sql, parameters=dict(parameters or {}))
        rows: Sequence[Sequence[Any]] = found.result_rows
        return rows

    async def read(self, statement: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """Run a SELECT of numbers and texts; for whoever asks often: `query` has each answer parsed in a thread.

        A number of 64 bits is a text where a server's settings say so.
        """
        async with judged(self._timeout_seconds):
            found = await self._client.raw_query(statement, parameters=dict(parameters), fmt="JSONCompactEachRow")
        rows: Sequence[Sequence[Any]] = orjson.loads(b"[%b]" % b",".join(found.splitlines()))
        return rows

    async def epoch(self) -> str | None:
        """The random word that tracker keys carry, or None."""
        rows = await self.query(sql.query("tracker_epoch"))
        return str(rows[0][0]) if rows else None

    async def set_epoch(self, epoch: str) -> None:
        """Replace it."""
        set_at = int(self._clock.now() * MICROSECONDS)
        await self.command(sql.command("set_tracker_epoch"), {"set_at": set_at, "epoch": epoch})

    async def command(self, statement: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run what answers nothing."""
        async with judged(self._timeout_seconds):
            await self._command(statement, parameters)

    async def _insert(self, table: str, columns: Any, *, until: float, settings: Mapping[str, str]) -> None:
        second = pa.scalar(min(int(until), DATETIME_SECONDS_MAX), pa.uint32())
        columns = columns.append_column("insert_until", pa.repeat(second, columns.num_rows))
        block = _block(columns)
        async with judged(self._timeout_seconds, inserting=True):
            await self._client.raw_insert(
                table,
                column_names=columns.column_names,
                insert_block=block,
                fmt="ArrowStream",
                settings={**INSERT_SETTINGS, **settings},
            )

    async def _connect(self) -> None:
        pa.array([""])  # the first array of a process imports pandas, half a second that no envelope shall wait for
        async with judged(self._timeout_seconds, opening=True):
            self._client = await clickhouse_connect.get_async_client(
                interface=self._address.scheme,
                host=self._address.host,
                port=self._address.port,
                username=self._address.user,
                password=self._address.password,
                compress=False,
                query_retries=0,
                connect_timeout=CONNECT_SECONDS_MAX,
                send_receive_timeout=self._timeout_seconds,
                keepalive_timeout=IDLE_SECONDS_MAX,
            )
            self._is_host = await self._knows_absent()
            await self._check_clock()
            await self._enter_database(self._address.database)
            await self._apply_schema()
            if self._retention is not None:
                await apply_retention(self._client, self._retention)

    async def _knows_absent(self) -> bool:
        """Whether this is the store host: only it says what is wrong here; a server may not even refuse the setting."""
        try:
            await self._client.command("SELECT 1", settings={"omni_absent": "probe"})
        except ClickHouseError as error:
            if NO_INSERT in str(error):
                return True
            if getattr(error, "code", None) != UNKNOWN_SETTING:
                raise
        return False

    async def _check_clock(self) -> None:
        """The engine judges by its clock whether an insert is in time."""
        earliest = self._clock.now()
        found = await self._client.query(sql.query("clock"))
        latest, its = self._clock.now(), float(found.result_rows[0][0])
        ahead_seconds = its - min(max(its, earliest), latest)
        if abs(ahead_seconds) > CLOCK_SKEW_SECONDS_MAX:
            raise UnavailableError(
                f"the store's clock is {ahead_seconds:+.0f} s from ours; up to {CLOCK_SKEW_SECONDS_MAX} s are allowed"
            )

    async def _enter_database(self, name: str) -> None:
        """A user may lack the right to create what exists already, so it is asked for first."""
        found = await self._client.query(sql.query("database_exists"), parameters={"name": name})
        if not found.result_rows[0][0]:
            await self._command("CREATE DATABASE IF NOT EXISTS {name:Identifier}", {"name": name})
        self._client.database = name

    async def _apply_schema(self) -> None:
        first, *later = sql.schema()
        await self._command(first.statement)
        found = await self._client.query(sql.query("schema_version"))
        standing = int(found.result_rows[0][0])
        known = later[-1].version
        if standing > known:
            raise SettingsError(
                SETTING,
                f"a store with schema {standing}; this program knows {known}",
                "Run the newer program, or another store.",
            )
        if standing not in {step.version for step in sql.schema()}:
            raise SettingsError(
                SETTING,
                f"a store with schema {standing}, from before 1.0; this program begins at {later[0].version}",
                "Use another database or data directory; nothing is carried over.",
            )
        for step in later:
            if step.version > standing:
                await self._command(step.statement)
                await self._command(sql.command("note_schema_version"), {"version": step.version, "name": step.name})

    async def _command(self, statement: str, parameters: Mapping[str, Any] | None = None) -> None:
        await self._client.command(statement, parameters=dict(parameters or {}), settings=INSERT_SETTINGS)


@dataclass(frozen=True, slots=True)
class _Address:
    scheme: str
    host: str
    port: int
    user: str
    password: str
    database: str


def _address(url: str) -> _Address:
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise SettingsError(
            SETTING, f"the scheme {parts.scheme!r}", "Write http(s)://user:password@host:port/database of a ClickHouse."
        )
    return _Address(
        scheme=parts.scheme,
        host=parts.hostname,
        port=parts.port or DEFAULT_PORTS[parts.scheme],
        user=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        database=parts.path.strip("/") or "default",
    )


def _block(columns: Any) -> io.BytesIO:
    """One record batch: the engine makes one block, and so one part, of each."""
    batches = columns.combine_chunks().to_batches()
    assert len(batches) == 1, f"{len(batches)} batches for one block"
    block = io.BytesIO()
    with pa.ipc.new_stream(block, columns.schema) as stream:
        stream.write_batch(batches[0])
    block.seek(0)
    return block
