"""Payload days: in PostgreSQL the lanes' payloads lie in a partition for each day of send, which is dropped as a whole.

Deleting 200 KB rows one by one leaves as much for vacuum to clear away, every day again. So a lane's message goes alone,
and its payload stays until no message of its day is left and the day is over: the disk holds one to two days of a steady
stream. Sidings and dead letters may keep an envelope for weeks and would hold a whole day with it: theirs are plain rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.payloads import Envelopes, Payloads
from omni_etl.backends.database.postgresql import ADVISORY_LOCK
from omni_etl.backends.database.tables import queue_messages, queue_payload_days
from omni_etl.clock import Clock
from omni_etl.envelope import LANES, SealedEnvelope
from omni_etl.errors import UnavailableError

DAY_MS: Final = 86_400_000
DAYS_AHEAD: Final = 2  # so that nobody makes one in the first second of a day
DAYS_KEPT: Final = 1  # behind today, for senders whose clocks are behind
PAUSE_SECONDS: Final = 60.0
DROP_WAIT_MS_MAX: Final = 200  # for this long a drop may hold up senders while it waits for a reader such as a backup
PREFIX: Final = "queue_payload_day_"


class PayloadDays(Payloads):
    """Days are made ahead, by whoever comes first, and dropped when they are over and done."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._made: set[int] = set()
        self._next_at = 0.0

    async def prepare(self, queue_name: str, sent_at_ms: int) -> None:
        """Make the day of a lane's send where there is none."""
        day = sent_at_ms // DAY_MS
        if queue_name in LANES and day not in self._made:
            async with self._database.writing() as connection:
                await self._make(connection, day)

    def keep(self, connection: Connection, envelopes: Envelopes, *, queue_name: str, sent_at_ms: int) -> None:
        """Raises `UnavailableError` where the day was dropped meanwhile, because our clock is far behind; it is made anew."""
        if queue_name not in LANES:
            super().keep(connection, envelopes, queue_name=queue_name, sent_at_ms=sent_at_ms)
            return
        day = sent_at_ms // DAY_MS
        rows = [
            {"day": day, "id": id_, "header": each.header, "payload": each.payload} for id_, each in envelopes.items()
        ]
        try:
            connection.execute(insert(queue_payload_days), rows)
        except IntegrityError as error:
            self._made.discard(day)
            raise UnavailableError(f"{self._database.place}: no partition for day {day}") from error

    def find(
        self, connection: Connection, sent_at_ms: Mapping[int, int], *, queue_name: str
    ) -> dict[int, SealedEnvelope]:
        """Looks only into the days that are named."""
        if queue_name not in LANES:
            return super().find(connection, sent_at_ms, queue_name=queue_name)
        columns = queue_payload_days.c
        days = {each // DAY_MS for each in sent_at_ms.values()}
        statement = select(queue_payload_days).where(columns.day.in_(days), columns.id.in_(sent_at_ms))
        rows = connection.execute(statement)
        return {row.id: SealedEnvelope(row.header, row.payload) for row in rows}

    async def tend(self) -> None:
        """Once a minute. Never raises `UnavailableError`: a day that was not made or dropped is another time."""
        if self._clock.monotonic() < self._next_at:
            return
        self._next_at = self._clock.monotonic() + PAUSE_SECONDS
        today = int(self._clock.now() * 1000) // DAY_MS
        try:
            async with self._database.writing() as connection:
                await self._make(connection, today)
            async with self._database.reading() as connection:
                over = await _over(connection, today)
            if over:
                await self._drop(today)
        except UnavailableError:
            return

    async def _make(self, connection: AsyncConnection, day: int) -> None:
        """Attached, not created as a partition: that would wait for everyone who reads or writes."""
        wanted = set(range(day, day + 1 + DAYS_AHEAD))
        await connection.execute(select(func.pg_advisory_xact_lock(ADVISORY_LOCK)))
        for each in sorted(wanted - set(await _days(connection))):
            name = f"{PREFIX}{each}"
            await connection.execute(text(f"CREATE TABLE {name} (LIKE {queue_payload_days} INCLUDING STORAGE)"))
            attach = f"ALTER TABLE {queue_payload_days} ATTACH PARTITION {name} FOR VALUES IN ({each})"
            await connection.execute(text(attach))
        self._made |= wanted

    async def _drop(self, today: int) -> None:
        """Looks again behind the lock: whoever sent into such a day meanwhile has committed, and keeps it."""
        async with self._database.writing() as connection:
            await connection.execute(text(f"SET LOCAL lock_timeout = {DROP_WAIT_MS_MAX}"))
            await connection.execute(text(f"LOCK TABLE {queue_payload_days} IN ACCESS EXCLUSIVE MODE"))
            over = await _over(connection, today)
            for day in over:
                await connection.execute(text(f"DROP TABLE {PREFIX}{day}"))
            self._made -= set(over)


async def _over(connection: AsyncConnection, today: int) -> list[int]:
    """Days before the oldest message that is still in a lane."""
    first = select(func.min(queue_messages.c.sent_at_ms))
    oldest = [(await connection.execute(first.where(queue_messages.c.queue_name == lane))).scalar() for lane in LANES]
    needed = min([today - DAYS_KEPT, *(each // DAY_MS for each in oldest if each is not None)])
    return [day for day in await _days(connection) if day < needed]


async def _days(connection: AsyncConnection) -> list[int]:
    """The partitions there are."""
    statement = (
        "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = CAST(:name AS regclass)"
    )
    names = (await connection.execute(text(statement), {"name": queue_payload_days.name})).scalars()
    return sorted(int(name.removeprefix(PREFIX)) for name in names)
