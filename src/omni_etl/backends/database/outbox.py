"""The outbox in the database: batches are rows, a claim is a time in a row, bodies lie apart and leave with delivery."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from omni_etl.backends.database import ledger, outbox_lanes
from omni_etl.backends.database.engine import Database, Holder
from omni_etl.backends.database.outbox_batches import (
    WHOLE,
    Fresh,
    drop_segments,
    join_segments,
    read_batches,
    write_batches,
    write_segments,
)
from omni_etl.backends.database.outbox_lanes import LaneRows, total
from omni_etl.backends.database.outbox_limits import first_due, take_overflow
from omni_etl.backends.database.outbox_tables import outbox_batches, outbox_segments, webhooks_ledger
from omni_etl.backends.database.outbox_tidying import OutboxTidying
from omni_etl.backends.database.verdicts import Verdicts
from omni_etl.clock import Clock
from omni_etl.envelope import Envelope
from omni_etl.outbox import (
    Closing,
    Cut,
    Dropped,
    DueBatch,
    DueLane,
    OpenSegments,
    OutboxCounts,
    Verdict,
    Wanted,
)

PROBES_AMONG: Final = 100  # of the batches that are due, the smallest is the probe


class DatabaseOutbox(Holder):
    """Batches for customers, with webhooks' ledger. A claim that lapsed decides as long as nobody took the batch again."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock)
        self._tidying = OutboxTidying(database, clock)
        self._lanes = LaneRows(database)
        self._verdicts = Verdicts(database, self._lanes)

    async def put(
        self, envelope: Envelope, cut: Cut, *, eager: Collection[str] = (), claim_seconds: int = 0
    ) -> list[DueBatch] | None:
        """An envelope for which nothing was cut is noted too: webhooks that come later do not get its events."""
        now_ms, claim = self._now_ms(), secrets.token_hex(8)
        until_ms = now_ms + claim_seconds * 1000
        fresh = [
            Fresh(each, now_ms, until_ms, claim) if each.webhook_id in eager else Fresh(each, now_ms, now_ms)
            for each in cut.batches
        ]

        def work(connection: Connection) -> bool:
            if not ledger.enter(connection, self._database, webhooks_ledger, envelope=envelope, now_ms=now_ms):
                return False
            moved = write_batches(connection, fresh) + write_segments(connection, cut.segments, now_ms=now_ms)
            self._lanes.add(connection, total(moved))  # last: every process wants these rows
            return True

        is_new = await self._database.write(work)
        return [each.due() for each in fresh if each.claim] if is_new else None

    async def open_segments(self) -> Sequence[OpenSegments]:
        """From an index alone."""
        rows = await self._database.read(lambda connection: connection.execute(OPEN_SEGMENTS).all())
        return [OpenSegments(row[0], int(row[1]), int(row[2]), row[3]) for row in rows]

    async def join(self, closings: Sequence[Closing], *, claim_seconds: int) -> list[DueBatch]:
        """One transaction and a handful of statements for all of them."""
        now_ms, claim = self._now_ms(), secrets.token_hex(8)

        def work(connection: Connection) -> list[Fresh]:
            made, moved = join_segments(connection, closings, now_ms=now_ms, claim=claim, claim_seconds=claim_seconds)
            self._lanes.add(connection, total(moved))
            return made

        return [each.due() for each in await self._database.write(work) if each.claim]

    async def drop_segments(self, webhook_id: str) -> int:
        """A bounded step; the next look finds what is left."""

        def work(connection: Connection) -> int:
            moved = drop_segments(connection, webhook_id)
            self._lanes.add(connection, {webhook_id: moved})
            return moved.dropped_events

        return await self._database.write(work)

    async def due(self) -> Sequence[DueLane]:
        """One statement."""
        return await self._database.read(outbox_lanes.due)

    async def claim(self, wanted: Mapping[str, Wanted], *, claim_seconds: int) -> list[DueBatch]:
        """Oldest first by the time at which they were due; a lapsed claim was due when it lapsed."""
        now_ms, claim = self._now_ms(), secrets.token_hex(8)
        until = {"now_ms": now_ms, "with_claim": claim, "until_ms": now_ms + claim_seconds * 1000}
        probed = {webhook_id for webhook_id, each in wanted.items() if each.is_probe}

        def work(connection: Connection) -> Sequence[Row[Any]]:
            taken: list[str] = []
            for webhook_id, each in sorted(wanted.items()):
                if each.is_probe:
                    taken += _take_smallest(connection, webhook_id, until)
                for state, count in (("retry", each.retries), ("fresh", each.fresh)):
                    if count:
                        row = {"of": webhook_id, "in_state": state, "count": count, **until}
                        taken += connection.execute(TAKE, row).scalars()
            return connection.execute(WHOLE, {"ids": taken}).all() if taken else []

        due = read_batches(await self._database.write(work))
        return [_as_probe(each) if each.batch.webhook_id in probed else each for each in due]

    async def release(self, claimed: Sequence[DueBatch]) -> None:
        """One transaction, in order of ids, as verdicts are."""
        ordered = sorted(claimed, key=lambda each: each.batch.id)
        rows = [{"of": each.batch.id, "held": each.claim, "due_at": each.cut_at_ms} for each in ordered]
        if rows:
            await self._database.write(lambda connection: connection.execute(RELEASE, rows))

    async def settle(self, due: DueBatch, verdict: Verdict) -> bool:
        """What was delivered goes at once; figures and a note remember it. What was given up stays two weeks, with its body."""
        return await self._verdicts.pass_on(due, verdict, self._now_ms())

    async def drop_overflow(self, webhook_id: str, *, bytes_max: int, cut_after_ms: int) -> Dropped:
        """What is claimed stays: its attempt is under way."""
        now_ms = self._now_ms()

        def work(connection: Connection) -> Dropped:
            dropped, moved = take_overflow(
                connection, webhook_id, bytes_max=bytes_max, cut_after_ms=cut_after_ms, now_ms=now_ms
            )
            self._lanes.add(connection, {webhook_id: moved} if dropped.batches else {})
            return dropped

        return await self._database.write(work)

    async def tidy(self) -> None:
        """What is old leaves; what is due at a time that no wait leads to is due now."""
        await self._tidying.step(self._now_ms())

    async def stop(self, webhook_id: str, reason: str) -> None:
        """One row."""
        now_ms = self._now_ms()
        await self._database.write(
            lambda connection: self._lanes.stop(connection, webhook_id, reason=reason, now_ms=now_ms)
        )

    async def counts(self) -> OutboxCounts:
        """A sum over a row for each webhook."""
        return await self._database.read(outbox_lanes.counts)


def _take_smallest(connection: Connection, webhook_id: str, until: Mapping[str, Any]) -> list[str]:
    rows = first_due(connection, webhook_id, now_ms=until["now_ms"], count_max=PROBES_AMONG)
    if not rows:
        return []
    smallest = min(rows, key=lambda row: (row.event_count, row.due_at_ms))
    return list(connection.execute(PROBE, {"of_id": smallest.id, **until}).scalars())


def _as_probe(due: DueBatch) -> DueBatch:
    return DueBatch(due.batch, due.claim, due.attempts, due.cut_at_ms, is_probe=True)


_batches: Final = outbox_batches.c
_segments: Final = outbox_segments.c

# Made once: to build a statement costs more than to run it.
OPEN_SEGMENTS: Final = select(
    _segments.webhook_id,
    func.sum(_segments.event_count),
    func.sum(_segments.element_bytes),
    func.min(_segments.put_at_ms),
).group_by(_segments.webhook_id)
_first: Final = (
    select(_batches.id)
    .where(
        _batches.webhook_id == bindparam("of"),
        _batches.state == bindparam("in_state"),
        _batches.due_at_ms <= bindparam("now_ms"),
    )
    .order_by(_batches.due_at_ms)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
    .cte("first")
)


def _take(which: ColumnElement[bool]) -> ReturningUpdate[Any]:
    return (
        update(outbox_batches)
        .where(which)
        .values(claim=bindparam("with_claim"), due_at_ms=bindparam("until_ms"))
        .returning(_batches.id)
    )


TAKE: Final = _take(_batches.id.in_(select(_first.c.id)))
PROBE: Final = _take(_batches.id == bindparam("of_id"))
RELEASE: Final = (
    update(outbox_batches)
    .where(_batches.id == bindparam("of"), _batches.claim == bindparam("held"))
    .values(claim=None, due_at_ms=bindparam("due_at"))
)
