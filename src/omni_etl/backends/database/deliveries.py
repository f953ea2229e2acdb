"""Deliveries: what people see of attempts. Written in the transaction of the verdicts, so it tells nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, select, update

from omni_etl.backends.database.engine import Database, Holder
from omni_etl.backends.database.outbox_lanes import LANE, RESUME, LaneRows, Moved, lane_of
from omni_etl.backends.database.outbox_limits import TROUBLES_KEPT_MS
from omni_etl.backends.database.outbox_tables import outbox_attempts, outbox_batches, outbox_lanes, outbox_troubles
from omni_etl.clock import Clock
from omni_etl.deliveries import AttemptNote, Trouble
from omni_etl.outbox import DueBatch, Lane, Verdict

IDS_MAX: Final = 10_000  # of one statement; both products take some 32,000


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt, as it is told."""

    due: DueBatch
    verdict: Verdict
    at_ms: int

    @property
    def is_delivered(self) -> bool:
        """The customer has it."""
        return self.verdict.kind == "delivered"


class DatabaseDeliveries(Holder):
    """Reads what `Notes` and the lanes hold, and says stop and go."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock)
        self._lanes = LaneRows(database)

    async def lanes(self, webhook_ids: Collection[str]) -> Mapping[str, Lane]:
        """However many are asked for."""
        rows = await self._of(webhook_ids, lambda part: select(*LANE).where(_lanes.webhook_id.in_(part)))
        return {row.webhook_id: lane_of(row) for row in rows}

    async def oldest(self, webhook_ids: Collection[str]) -> Mapping[str, int]:
        """Two looks into an index for each, however much waits."""
        rows = await self._of(webhook_ids, lambda part: OLDEST.where(_lanes.webhook_id.in_(part)))
        found = {row.webhook_id: [each for each in (row.fresh_cut_at_ms, row.retry_cut_at_ms) if each] for row in rows}
        return {webhook_id: min(times) for webhook_id, times in found.items() if times}

    async def waiting(self) -> Sequence[Lane]:
        """A row for each webhook."""
        of_interest = (_lanes.waiting_events > 0) | _lanes.stopped_at_ms.is_not(None)
        statement = select(*LANE).where(of_interest)
        return await self._database.read(lambda connection: [lane_of(row) for row in connection.execute(statement)])

    async def troubles(self, webhook_id: str, *, count_max: int) -> Sequence[Trouble]:
        """Newest first, whether the older ones were pruned yet or not."""
        statement = (
            select(_troubles)
            .where(
                _troubles.c.webhook_id == webhook_id,
                _troubles.c.at_ms > self._now_ms() - TROUBLES_KEPT_MS,
            )
            .order_by(_troubles.c.at_ms.desc(), _troubles.c.batch_id)
            .limit(count_max)
        )
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return [
            Trouble(
                batch_id=row.batch_id,
                event_count=row.event_count,
                attempts=row.attempts,
                answer=row.answer,
                is_delivered=row.delivered,
                latency_ms=row.latency_ms,
                at_ms=row.at_ms,
            )
            for row in rows
        ]

    async def attempts(
        self, webhook_id: str, *, count_max: int, batch_id: str | None = None, before_ms: int | None = None
    ) -> Sequence[AttemptNote]:
        """Along the primary key."""
        statement = select(outbox_attempts).where(_attempts.webhook_id == webhook_id)
        if batch_id is not None:
            statement = statement.where(_attempts.batch_id == batch_id)
        if before_ms is not None:
            statement = statement.where(_attempts.at_ms < before_ms)
        newest = statement.order_by(_attempts.at_ms.desc(), _attempts.batch_id.desc()).limit(count_max)
        rows = await self._database.read(lambda connection: connection.execute(newest).all())
        return [AttemptNote(**{name: getattr(row, name) for name in AttemptNote.__slots__}) for row in rows]

    async def stop(self, webhook_id: str, reason: str) -> None:
        """One row."""
        now_ms = self._now_ms()
        await self._database.write(
            lambda connection: self._lanes.stop(connection, webhook_id, reason=reason, now_ms=now_ms)
        )

    async def resume(self, webhook_id: str) -> bool:
        """One row; with it goes what was counted of its failures."""
        return bool(
            await self._database.write(lambda connection: connection.execute(RESUME, {"of": webhook_id}).rowcount)
        )

    async def retry(self, webhook_id: str, *, count_max: int) -> int:
        """The oldest first, in one transaction."""
        now_ms = self._now_ms()

        def work(connection: Connection) -> int:
            where = {"of": webhook_id, "count": count_max, "now_ms": now_ms}
            rows = connection.execute(AGAIN, where).all()
            events = sum(row.event_count for row in rows)
            moved = Moved(
                waiting_batches=len(rows),
                waiting_events=events,
                waiting_bytes=sum(row.body_bytes for row in rows),
                given_up_batches=-len(rows),
                given_up_events=-events,
            )
            self._lanes.add(connection, {webhook_id: moved} if rows else {})
            return len(rows) + len(connection.execute(NOW, where).all())

        return await self._database.write(work)

    async def _of(self, webhook_ids: Collection[str], statement: Any) -> list[Row[Any]]:
        ids = list(webhook_ids)
        parts = [ids[start : start + IDS_MAX] for start in range(0, len(ids), IDS_MAX)]

        def work(connection: Connection) -> list[Row[Any]]:
            return [row for part in parts for row in connection.execute(statement(part))]

        return await self._database.read(work)


class Notes:
    """Writes, in a transaction that is another's."""

    def __init__(self, database: Database) -> None:
        trouble = database.insert(_troubles)
        self._trouble = trouble.on_conflict_do_update(
            index_elements=[_troubles.c.batch_id],
            set_={name: trouble.excluded[name] for name in ("attempts", "answer", "delivered", "latency_ms", "at_ms")},
        )
        self._attempt = database.insert(outbox_attempts).on_conflict_do_nothing()  # a clock may say the same twice

    def write(self, connection: Connection, ended: Sequence[Ended]) -> None:
        """All of them, each of another batch."""
        troubles = [_trouble(each) for each in ended if each.due.attempts or not each.is_delivered]
        if troubles:
            connection.execute(self._trouble, troubles)
        if ended:
            connection.execute(self._attempt, [_attempt(each) for each in ended])


def _trouble(ended: Ended) -> dict[str, object]:
    return {
        "batch_id": ended.due.batch.id,
        "webhook_id": ended.due.batch.webhook_id,
        "event_count": ended.due.batch.event_count,
        "attempts": ended.due.attempts + (not ended.is_delivered),
        "answer": ended.verdict.answer,
        "delivered": ended.is_delivered,
        "latency_ms": ended.verdict.latency_ms,
        "at_ms": ended.at_ms,
    }


def _attempt(ended: Ended) -> dict[str, object]:
    verdict = ended.verdict
    next_in_ms = int(
        max(verdict.retry_in_seconds, verdict.hold_seconds) * 1000
    )  # nothing goes while its webhook is held
    return {
        "webhook_id": ended.due.batch.webhook_id,
        "at_ms": ended.at_ms,
        "batch_id": ended.due.batch.id,
        "number": ended.due.attempts + 1,
        "event_count": ended.due.batch.event_count,
        "kind": verdict.kind,
        "answer": verdict.answer,
        "excerpt": verdict.excerpt,
        "latency_ms": verdict.latency_ms,
        "next_at_ms": ended.at_ms + next_in_ms if verdict.kind == "retry" else None,
    }


_troubles: Final = outbox_troubles
_lanes: Final = outbox_lanes.c
_batches: Final = outbox_batches.c
_attempts: Final = outbox_attempts.c


def _first_cut(state: str) -> Any:
    """When the batch was cut that is due first: it waits for longest, or very nearly."""
    mine = select(_batches.cut_at_ms).where(_batches.webhook_id == _lanes.webhook_id, _batches.state == state)
    return mine.order_by(_batches.due_at_ms).limit(1).correlate(outbox_lanes).scalar_subquery()


# Made once: to build a statement costs more than to run it.
OLDEST: Final = select(
    _lanes.webhook_id,
    _first_cut("fresh").label("fresh_cut_at_ms"),
    _first_cut("retry").label("retry_cut_at_ms"),
).where(_lanes.waiting_batches > 0)
_given_up: Final = (
    select(_batches.id)
    .where(_batches.webhook_id == bindparam("of"), _batches.state == "given_up")
    .order_by(_batches.due_at_ms)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
    .cte("given_up")
)
AGAIN: Final = (
    update(outbox_batches)
    .where(_batches.id.in_(select(_given_up.c.id)))
    .values(state="fresh", attempts=0, claim=None, due_at_ms=bindparam("now_ms"))
    .returning(_batches.event_count, _batches.body_bytes)
)
_scheduled: Final = (
    select(_batches.id)
    .where(
        _batches.webhook_id == bindparam("of"),
        _batches.state == "retry",
        _batches.due_at_ms > bindparam("now_ms"),
        _batches.claim.is_(None),
    )
    .order_by(_batches.due_at_ms)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
    .cte("scheduled")
)
NOW: Final = (
    update(outbox_batches)
    .where(_batches.id.in_(select(_scheduled.c.id)), _batches.claim.is_(None))
    .values(due_at_ms=bindparam("now_ms"))
    .returning(_batches.id)  # SQLite counts no rows of a statement that begins with WITH
)
