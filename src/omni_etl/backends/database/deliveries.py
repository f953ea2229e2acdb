"""Deliveries: what customers see of attempts. Written in the transaction of the verdicts, so it tells nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, Row, and_, func, select

from omni_etl.backends.database.engine import Database, Holder
from omni_etl.backends.database.tables import outbox_last_attempts, outbox_troubles
from omni_etl.outbox import DueBatch, LastAttempts, Trouble

TROUBLES_KEPT_MS: Final = 86_400_000  # as at SparkPost
IDS_MAX: Final = 10_000  # of one statement; both products take some 32,000
LAST_KEPT_MS: Final = 400 * 86_400_000  # of a webhook that has had no attempt since; it may be gone


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt, as it is told."""

    due: DueBatch
    is_delivered: bool
    answer: str
    latency_ms: int
    at_ms: int


class DatabaseDeliveries(Holder):
    """Reads what `Notes` wrote."""

    async def last(self, webhook_ids: Collection[str]) -> Mapping[str, LastAttempts]:
        """Of those that had an attempt, however many are asked for."""
        ids = list(webhook_ids)
        parts = [ids[start : start + IDS_MAX] for start in range(0, len(ids), IDS_MAX)]

        def work(connection: Connection) -> list[Row[tuple[object, ...]]]:
            found = (connection.execute(select(_last).where(_last.c.webhook_id.in_(part))) for part in parts)
            return [row for rows in found for row in rows]

        rows = await self._database.read(work)
        return {row.webhook_id: LastAttempts(row.succeeded_at_ms, row.failed_at_ms) for row in rows}

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


class Notes:
    """Writes, in a transaction that is another's."""

    def __init__(self, database: Database) -> None:
        trouble, last = database.insert(_troubles), database.insert(_last)
        self._trouble = trouble.on_conflict_do_update(
            index_elements=[_troubles.c.batch_id],
            set_={name: trouble.excluded[name] for name in ("attempts", "answer", "delivered", "latency_ms", "at_ms")},
        )
        columns = ("succeeded_at_ms", "failed_at_ms")
        # Row by row in order of ids: two processes that note the same webhooks never wait for each other in a circle.
        self._last = last.on_conflict_do_update(
            index_elements=[_last.c.webhook_id],
            set_={name: func.coalesce(last.excluded[name], _last.c[name]) for name in columns},
        )

    def write(self, connection: Connection, ended: Sequence[Ended]) -> None:
        """All of them, each of another batch."""
        troubles = [_trouble(each) for each in ended if each.due.attempts or not each.is_delivered]
        if troubles:
            connection.execute(self._trouble, troubles)
        if ended:
            connection.execute(self._last, _last_rows(ended))


def old_troubles(now_ms: int) -> ColumnElement[bool]:
    """Which of them may go."""
    return _troubles.c.at_ms < now_ms - TROUBLES_KEPT_MS


def old_last_attempts(now_ms: int) -> ColumnElement[bool]:
    """Likewise."""
    since_ms = now_ms - LAST_KEPT_MS
    return and_(*(func.coalesce(each, 0) < since_ms for each in (_last.c.succeeded_at_ms, _last.c.failed_at_ms)))


def _trouble(ended: Ended) -> dict[str, object]:
    return {
        "batch_id": ended.due.batch.id,
        "webhook_id": ended.due.batch.webhook_id,
        "event_count": ended.due.batch.event_count,
        "attempts": ended.due.attempts + (not ended.is_delivered),
        "answer": ended.answer,
        "delivered": ended.is_delivered,
        "latency_ms": ended.latency_ms,
        "at_ms": ended.at_ms,
    }


def _last_rows(ended: Sequence[Ended]) -> list[dict[str, object]]:
    """One for each webhook, with the newest of its attempts of either kind."""
    times: dict[str, dict[bool, int]] = {}
    for each in ended:
        of = times.setdefault(each.due.batch.webhook_id, {})
        of[each.is_delivered] = max(each.at_ms, of.get(each.is_delivered, 0))
    return [
        {"webhook_id": webhook_id, "succeeded_at_ms": of.get(True), "failed_at_ms": of.get(False)}
        for webhook_id, of in sorted(times.items())
    ]


_troubles: Final = outbox_troubles
_last: Final = outbox_last_attempts
