"""The outbox in the database: batches are rows, a claim is a time in a row, bodies lie apart and leave with delivery."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from typing import Final

import zstandard
from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from omni_etl.backends.database import ledger
from omni_etl.backends.database.engine import Database, Holder
from omni_etl.backends.database.pruning import Pruning
from omni_etl.backends.database.tables import outbox_batches, outbox_bodies, outbox_counters, webhooks_ledger
from omni_etl.backends.database.verdicts import Verdict, Verdicts
from omni_etl.clock import Clock
from omni_etl.envelope import Envelope, compress
from omni_etl.outbox import Batch, DueBatch, OutboxCounts

GIVEN_UP_KEPT_MS: Final = 14 * 86_400_000  # as long as dead letters


class DatabaseOutbox(Holder):
    """Batches for customers, with webhooks' ledger. A claim that lapsed decides as long as nobody took the batch again."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock)
        self._pruning = Pruning(database, clock)
        self._verdicts = Verdicts(database)

    async def put(self, envelope: Envelope, batches: Sequence[Batch]) -> bool:
        """One transaction. An envelope without batches is noted too: webhooks that come later do not get its events."""
        now_ms = self._now_ms()
        bodies = [{"batch_id": each.id, "body": compress(each.body)} for each in batches]
        async with self._database.writing() as connection:
            if not await ledger.enter(self._database, connection, webhooks_ledger, envelope=envelope, now_ms=now_ms):
                return False
            if batches:
                await connection.execute(insert(outbox_batches), [_row(each, now_ms) for each in batches])
                await connection.execute(insert(outbox_bodies), bodies)
                await _count_waiting(connection, batches)
        await self._prune(now_ms)
        return True

    async def claim(self, *, count_max: int, claim_seconds: int, paused: Collection[str] = ()) -> list[DueBatch]:
        """Oldest first by the time at which they were due; a lapsed claim was due when it lapsed."""
        now_ms = self._now_ms()
        due = (
            select(outbox_batches.c.id)
            .where(outbox_batches.c.state == "waiting", outbox_batches.c.due_at_ms <= now_ms)
            .order_by(outbox_batches.c.due_at_ms)
        )
        if paused:
            due = due.where(outbox_batches.c.webhook_id.not_in(paused))
        async with self._database.reading() as connection:  # a look costs writers nothing
            if (await connection.execute(due.limit(1))).first() is None:
                return []
        claim = secrets.token_hex(8)
        first = due.limit(count_max).with_for_update(skip_locked=True).cte("first")
        take = (
            update(outbox_batches)
            .where(outbox_batches.c.id.in_(select(first.c.id)))
            .values(claim=claim, due_at_ms=now_ms + claim_seconds * 1000)
            .returning(outbox_batches.c.id)
        )
        async with self._database.writing() as connection:
            taken = (await connection.execute(take)).scalars().all()
        return await self._claimed(claim, taken)

    async def delivered(self, due: DueBatch, status: int) -> bool:
        """The batch goes at once and only the counters remember it."""
        verdict = Verdict(state="delivered", due_at_ms=self._now_ms(), answer=str(status))
        return await self._verdicts.pass_on(due, verdict)

    async def failed(self, due: DueBatch, reason: str, *, retry_in_seconds: float | None) -> bool:
        """Waits again, or is given up and stays, with its body, two weeks."""
        if retry_in_seconds is None:
            verdict = Verdict(state="given_up", due_at_ms=self._now_ms(), answer=reason)
        else:
            due_at_ms = self._now_ms() + int(retry_in_seconds * 1000)
            verdict = Verdict(state="waiting", due_at_ms=due_at_ms, answer=reason)
        return await self._verdicts.pass_on(due, verdict)

    async def counts(self) -> OutboxCounts:
        """One row, kept in the transactions that move batches."""
        async with self._database.reading() as connection:
            row = (await connection.execute(select(outbox_counters))).mappings().one()
            return OutboxCounts(**{name: value for name, value in row.items() if name != "id"})

    async def _claimed(self, claim: str, taken: Sequence[str]) -> list[DueBatch]:
        statement = (
            select(outbox_batches, outbox_bodies.c.body)
            .join(outbox_bodies)
            .where(outbox_batches.c.id.in_(taken), outbox_batches.c.claim == claim)
            .order_by(outbox_batches.c.cut_at_ms)
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(statement)).all()
        decompressor = zstandard.ZstdDecompressor()
        return [_due_batch(row, decompressor) for row in rows]

    async def _prune(self, now_ms: int) -> None:
        await self._pruning.run(webhooks_ledger, webhooks_ledger.c.applied_at_ms < now_ms - ledger.KEPT_MS)
        given_up = outbox_batches.c.state == "given_up"
        await self._pruning.run(outbox_batches, given_up & (outbox_batches.c.due_at_ms < now_ms - GIVEN_UP_KEPT_MS))


async def _count_waiting(connection: AsyncConnection, batches: Sequence[Batch]) -> None:
    more = update(outbox_counters).values(
        waiting_batches=outbox_counters.c.waiting_batches + len(batches),
        waiting_events=outbox_counters.c.waiting_events + sum(each.event_count for each in batches),
    )
    await connection.execute(more)


def _row(batch: Batch, now_ms: int) -> dict[str, object]:
    return {
        "id": batch.id,
        "webhook_id": batch.webhook_id,
        "target": batch.target,
        "headers": dict(batch.headers),
        "event_count": batch.event_count,
        "state": "waiting",
        "attempts": 0,
        "cut_at_ms": now_ms,
        "due_at_ms": now_ms,
    }


def _due_batch(row: Row[tuple[object, ...]], decompressor: zstandard.ZstdDecompressor) -> DueBatch:
    batch = Batch(
        id=row.id,
        webhook_id=row.webhook_id,
        target=row.target,
        headers=row.headers,
        body=decompressor.decompress(row.body),
        event_count=row.event_count,
    )
    return DueBatch(batch=batch, claim=row.claim, attempts=row.attempts, cut_at_ms=row.cut_at_ms)
