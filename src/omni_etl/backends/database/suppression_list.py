"""The suppression list in the database: the greatest saying stands, and the ledger row is in its transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from omni_etl.backends.database import ledger
from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.pruning import Pruning
from omni_etl.backends.database.tables import suppressions, suppressions_ledger
from omni_etl.clock import Clock
from omni_etl.envelope import Envelope
from omni_etl.suppression_list import Entry, Saying, address_key

TOMBSTONES_KEPT_MS: Final = 90 * 86_400_000


class DatabaseSuppressionList:
    """Rows hold what was said last: entries that hold, and tombstones."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._pruning = Pruning(database, clock)

    async def open(self) -> None:
        """Connect and migrate."""
        await self._database.open(self)

    async def close(self) -> None:
        """Give back connections."""
        await self._database.close(self)

    async def apply(self, envelope: Envelope, sayings: Sequence[Saying]) -> bool:
        """One transaction. Without sayings nothing is written, only the checksum compared.

        Doing nothing twice is harmless, and most envelopes say nothing: a row for each would be an fsync for each.
        """
        if not sayings:
            async with self._database.reading() as connection:
                await ledger.check(connection, suppressions_ledger, envelope)
            return True
        now_ms = self._now_ms()
        async with self._database.writing() as connection:
            if not await ledger.enter(
                self._database, connection, suppressions_ledger, envelope=envelope, now_ms=now_ms
            ):
                return False
            await self._upsert(connection, sayings)
        await self._prune(now_ms)
        return True

    async def say(self, sayings: Sequence[Saying]) -> None:
        """Manual sayings, in one transaction."""
        if sayings:
            async with self._database.writing() as connection:
                await self._upsert(connection, sayings)

    async def check(self, recipient: str, subaccount_id: int | None = None) -> list[Entry]:
        """By subaccount and type."""
        statement = select(suppressions).where(
            suppressions.c.recipient == address_key(recipient), suppressions.c.suppressed
        )
        if subaccount_id is not None:
            statement = statement.where(suppressions.c.subaccount_id == subaccount_id)
        async with self._database.reading() as connection:
            rows = await connection.execute(statement.order_by(suppressions.c.subaccount_id, suppressions.c.type))
            return [
                Entry(
                    subaccount_id=row.subaccount_id,
                    recipient=row.recipient,
                    type=row.type,
                    source=row.source,
                    description=row.description,
                    created_at_ms=row.created_at_ms,
                    updated_at_ms=row.said_at_ms,
                )
                for row in rows
            ]

    async def count(self) -> int:
        """Entries that hold, counted along an index of just these."""
        async with self._database.reading() as connection:
            return (await connection.execute(select(func.count()).where(suppressions.c.suppressed))).scalar_one()

    async def _upsert(self, connection: AsyncConnection, sayings: Sequence[Saying]) -> None:
        new = self._database.insert(suppressions)
        said, stands = new.excluded, suppressions.c
        is_greater = or_(
            said.said_at_ms > stands.said_at_ms,
            and_(said.said_at_ms == stands.said_at_ms, said.said_id > stands.said_id),
        )
        values: dict[str, ColumnElement[Any]] = {
            name: said[name] for name in ("suppressed", "said_at_ms", "said_id", "source", "description")
        }
        still_suppressed = and_(stands.suppressed, said.suppressed)
        values["created_at_ms"] = case((still_suppressed, stands.created_at_ms), else_=said.said_at_ms)
        statement = new.on_conflict_do_update(
            index_elements=[stands.recipient, stands.subaccount_id, stands.type], set_=values, where=is_greater
        )
        await connection.execute(statement, [_row(saying) for saying in _greatest(sayings)])

    async def _prune(self, now_ms: int) -> None:
        ledger_old = suppressions_ledger.c.applied_at_ms < now_ms - ledger.KEPT_MS
        await self._pruning.run(suppressions_ledger, ledger_old)
        said_before_ms = now_ms - TOMBSTONES_KEPT_MS
        await self._pruning.run(
            suppressions, and_(~suppressions.c.suppressed, suppressions.c.said_at_ms < said_before_ms)
        )

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)


def _greatest(sayings: Sequence[Saying]) -> list[Saying]:
    """The last word about each (subaccount, recipient, type), whatever the order in the envelope."""
    ordered = sorted(sayings, key=lambda each: (each.said_at_ms, each.said_id))
    return list({(each.subaccount_id, each.recipient, each.type): each for each in ordered}.values())


def _row(saying: Saying) -> dict[str, object]:
    return {
        "recipient": saying.recipient,
        "subaccount_id": saying.subaccount_id,
        "type": saying.type,
        "suppressed": saying.suppressed,
        "said_at_ms": saying.said_at_ms,
        "said_id": saying.said_id,
        "source": saying.source,
        "description": saying.description,
        "created_at_ms": saying.said_at_ms,
    }
