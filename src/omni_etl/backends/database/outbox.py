"""The outbox in the database: batches are rows, a claim is a time in a row, bodies lie apart and leave with delivery."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from typing import Final

import zstandard
from sqlalchemy import Connection, Row, bindparam, insert, select, update

from omni_etl.backends.database import deliveries, ledger
from omni_etl.backends.database.engine import Database, Holder
from omni_etl.backends.database.pruning import Pruning
from omni_etl.backends.database.tables import (
    outbox_batches,
    outbox_bodies,
    outbox_counters,
    outbox_last_attempts,
    outbox_troubles,
    webhooks_ledger,
)
from omni_etl.backends.database.verdicts import COUNTED, Verdict, Verdicts
from omni_etl.clock import Clock
from omni_etl.envelope import ZSTD_LEVEL, Envelope
from omni_etl.outbox import Batch, DueBatch, OutboxCounts

GIVEN_UP_KEPT_MS: Final = 14 * 86_400_000  # as long as dead letters
PAUSED_KEPT_MS: Final = 14 * 86_400_000  # for which a batch waits for a webhook that is paused
PAUSED_LOOK_SECONDS: Final = 60.0
PAUSED_ROWS_MAX: Final = 500  # of one transaction, see engine.py


class DatabaseOutbox(Holder):
    """Batches for customers, with webhooks' ledger. A claim that lapsed decides as long as nobody took the batch again."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock)
        self._pruning = Pruning(database, clock)
        self._verdicts = Verdicts(database)
        self._look_at_paused_at = 0.0

    async def put(self, envelope: Envelope, batches: Sequence[Batch]) -> bool:
        """One transaction. An envelope without batches is noted too: webhooks that come later do not get its events."""
        now_ms = self._now_ms()
        return await self._put(envelope, [DueBatch(each, "", 0, now_ms) for each in batches], due_at_ms=now_ms)

    async def put_claimed(self, envelope: Envelope, batches: Sequence[Batch], *, claim_seconds: int) -> list[DueBatch]:
        """The same transaction; whoever dies with what it claimed leaves it to lapse."""
        now_ms, claim = self._now_ms(), secrets.token_hex(8)
        claimed = [DueBatch(each, claim, 0, now_ms) for each in batches]
        is_new = await self._put(envelope, claimed, due_at_ms=now_ms + claim_seconds * 1000)
        return claimed if is_new else []

    async def claim(self, *, count_max: int, claim_seconds: int, paused: Collection[str] = ()) -> list[DueBatch]:
        """Oldest first by the time at which they were due; a lapsed claim was due when it lapsed."""
        now_ms = self._now_ms()
        if paused and self._clock.monotonic() >= self._look_at_paused_at:
            await self._give_up_paused(paused, now_ms)
        due = (
            select(outbox_batches.c.id)
            .where(outbox_batches.c.state == "waiting", outbox_batches.c.due_at_ms <= now_ms)
            .order_by(outbox_batches.c.due_at_ms)
        )
        if paused:
            due = due.where(outbox_batches.c.webhook_id.not_in(paused))
        look = due.limit(1)
        if await self._database.read(lambda connection: connection.execute(look).first()) is None:
            return []  # a look costs writers nothing
        first = due.limit(count_max).with_for_update(skip_locked=True).cte("first")
        take = (
            update(outbox_batches)
            .where(outbox_batches.c.id.in_(select(first.c.id)))
            .values(claim=secrets.token_hex(8), due_at_ms=now_ms + claim_seconds * 1000)
            .returning(outbox_batches.c.id)
        )

        def work(connection: Connection) -> Sequence[Row[tuple[object, ...]]]:
            taken = connection.execute(take).scalars().all()
            return connection.execute(WHOLE, {"ids": taken}).all()

        decompressor = zstandard.ZstdDecompressor()
        return [_due_batch(row, decompressor) for row in await self._database.write(work)]

    async def release(self, claimed: Sequence[DueBatch]) -> None:
        """One transaction."""
        rows = [{"of": each.batch.id, "held": each.claim, "due_at": each.cut_at_ms} for each in claimed]
        if rows:
            await self._database.write(lambda connection: connection.execute(RELEASE, rows))

    async def delivered(self, due: DueBatch, status: int, *, latency_ms: int = 0) -> bool:
        """The batch goes at once; only figures remember it, and its trouble where it had any."""
        verdict = Verdict("delivered", self._now_ms(), str(status), latency_ms=latency_ms)
        return await self._verdicts.pass_on(due, verdict)

    async def failed(self, due: DueBatch, reason: str, *, retry_in_seconds: float | None, latency_ms: int = 0) -> bool:
        """Waits again, or is given up and stays, with its body, two weeks."""
        now_ms = self._now_ms()
        if retry_in_seconds is None:
            verdict = Verdict("given_up", now_ms, reason, due_at_ms=now_ms, latency_ms=latency_ms)
        else:
            due_at_ms = now_ms + int(retry_in_seconds * 1000)
            verdict = Verdict("waiting", now_ms, reason, due_at_ms=due_at_ms, latency_ms=latency_ms)
        return await self._verdicts.pass_on(due, verdict)

    async def counts(self) -> OutboxCounts:
        """One row, kept in the transactions that move batches."""
        async with self._database.reading() as connection:
            row = (await connection.execute(select(outbox_counters))).mappings().one()
            return OutboxCounts(**{name: value for name, value in row.items() if name != "id"})

    async def _put(self, envelope: Envelope, fresh: Sequence[DueBatch], *, due_at_ms: int) -> bool:
        now_ms = self._now_ms()
        rows, bodies = [_row(each, due_at_ms) for each in fresh], _bodies(fresh)
        more = {"batches": len(fresh), "events": sum(each.batch.event_count for each in fresh)}

        def work(connection: Connection) -> bool:
            if not ledger.enter(connection, self._database, webhooks_ledger, envelope=envelope, now_ms=now_ms):
                return False
            if rows:
                connection.execute(ROWS, rows)
                connection.execute(BODIES, bodies)
                connection.execute(MORE_WAITING, more)
            return True

        is_new = await self._database.write(work)
        await self._prune(now_ms)
        return is_new

    async def _give_up_paused(self, paused: Collection[str], now_ms: int) -> None:
        """Whose webhook is paused for longer than anything is kept: nobody would ever try them, and they would wait for ever."""
        is_stale = (
            (outbox_batches.c.state == "waiting")
            & (outbox_batches.c.due_at_ms < now_ms - PAUSED_KEPT_MS)
            & outbox_batches.c.webhook_id.in_(paused)
        )
        stale = select(outbox_batches.c.id).where(is_stale).limit(PAUSED_ROWS_MAX)
        give_up = (
            update(outbox_batches)
            .where(outbox_batches.c.id.in_(stale), is_stale)
            .values(state="given_up", due_at_ms=now_ms, claim=None, last_answer="paused for too long")
            .returning(outbox_batches.c.event_count)
        )

        def work(connection: Connection) -> int:
            counts = connection.execute(give_up).scalars().all()
            if counts:
                moved = {"delivered": 0, "delivered_of": 0, "given_up": len(counts), "given_up_of": sum(counts)}
                connection.execute(COUNTED, moved)
            return len(counts)

        is_more = await self._database.write(work) == PAUSED_ROWS_MAX
        self._look_at_paused_at = self._clock.monotonic() + (0.0 if is_more else PAUSED_LOOK_SECONDS)

    async def _prune(self, now_ms: int) -> None:
        if self._pruning.is_due(webhooks_ledger):
            await self._pruning.run(webhooks_ledger, webhooks_ledger.c.applied_at_ms < now_ms - ledger.KEPT_MS)
        if self._pruning.is_due(outbox_batches):
            given_up = outbox_batches.c.state == "given_up"
            await self._pruning.run(outbox_batches, given_up & (outbox_batches.c.due_at_ms < now_ms - GIVEN_UP_KEPT_MS))
        if self._pruning.is_due(outbox_troubles):
            await self._pruning.run(outbox_troubles, deliveries.old_troubles(now_ms))
        if self._pruning.is_due(outbox_last_attempts):
            await self._pruning.run(outbox_last_attempts, deliveries.old_last_attempts(now_ms))


def _row(fresh: DueBatch, due_at_ms: int) -> dict[str, object]:
    batch = fresh.batch
    return {
        "id": batch.id,
        "webhook_id": batch.webhook_id,
        "target": batch.target,
        "headers": dict(batch.headers),
        "event_count": batch.event_count,
        "state": "waiting",
        "attempts": 0,
        "cut_at_ms": fresh.cut_at_ms,
        "due_at_ms": due_at_ms,
        "claim": fresh.claim or None,
    }


def _bodies(fresh: Sequence[DueBatch]) -> list[dict[str, object]]:
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)  # one for all, and for no other thread
    return [{"batch_id": each.batch.id, "body": compressor.compress(each.batch.body)} for each in fresh]


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


# Made once: to build a statement costs more than to run it.
ROWS: Final = insert(outbox_batches)
BODIES: Final = insert(outbox_bodies)
MORE_WAITING: Final = update(outbox_counters).values(
    waiting_batches=outbox_counters.c.waiting_batches + bindparam("batches"),
    waiting_events=outbox_counters.c.waiting_events + bindparam("events"),
)
WHOLE: Final = (
    select(outbox_batches, outbox_bodies.c.body)
    .join(outbox_bodies)
    .where(outbox_batches.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(outbox_batches.c.cut_at_ms)
)
RELEASE: Final = (
    update(outbox_batches)
    .where(outbox_batches.c.id == bindparam("of"), outbox_batches.c.claim == bindparam("held"))
    .values(claim=None, due_at_ms=bindparam("due_at"))
)
