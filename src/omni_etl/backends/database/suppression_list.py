"""The suppression list in the database: the greatest saying stands, and the ledger row is in its transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from omni_etl.backends.database import ledger
from omni_etl.backends.database.engine import Database, Holder
from omni_etl.backends.database.pruning import Pruning
from omni_etl.backends.database.tables import suppressions, suppressions_ledger
from omni_etl.clock import Clock
from omni_etl.envelope import Envelope
from omni_etl.suppression_list import Entry, Saying, address_key

TOMBSTONES_KEPT_MS: Final = 90 * 86_400_000


class DatabaseSuppressionList(Holder):
    """Rows hold what was said last: entries that hold, and tombstones."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock)
        self._pruning = Pruning(database, clock)

    async def apply(self, envelope: Envelope, sayings: Sequence[Saying]) -> bool:
        """One transaction. Without sayings nothing is written, only the checksum compared.

        Doing nothing twice is harmless, and most envelopes say nothing: a row for each would be an fsync for each.
        """
        if not sayings:
            await self._database.read(lambda connection: ledger.check(connection, suppressions_ledger, envelope))
            return True
        now_ms = self._now_ms()
        async with self._database.writing() as connection:
            if not await connection.run_sync(
                ledger.enter, self._database, suppressions_ledger, envelope=envelope, now_ms=now_ms
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
        await connection.execute(statement, _rows(sayings))

    async def _prune(self, now_ms: int) -> None:
        ledger_old = suppressions_ledger.c.applied_at_ms < now_ms - ledger.KEPT_MS
        await self._pruning.run(suppressions_ledger, ledger_old)
        said_before_ms = now_ms - TOMBSTONES_KEPT_MS
        await self._pruning.run(
            suppressions, and_(~suppressions.c.suppressed, suppressions.c.said_at_ms < said_before_ms)
        )


def _rows(sayings: Sequence[Saying]) -> list[dict[str, object]]:
    """The last word about each, whatever the order in the envelope; sorted, so that two writers never wait crosswise."""
    ordered = sorted(sayings, key=lambda each: (each.said_at_ms, each.said_id))
    greatest = {(each.recipient, each.subaccount_id, each.type): each for each in ordered}
    return [_row(greatest[key]) for key in sorted(greatest)]


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
