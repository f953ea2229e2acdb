"""Limits of the outbox: how long what is kept, and what goes first where a webhook's backlog is full."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, delete, select

from omni_etl.backends.database.outbox_lanes import Moved
from omni_etl.backends.database.outbox_tables import outbox_attempts, outbox_batches, outbox_lanes, outbox_troubles
from omni_etl.outbox import Dropped

GIVEN_UP_KEPT_MS: Final = 14 * 86_400_000  # as long as dead letters
TROUBLES_KEPT_MS: Final = 86_400_000  # as at SparkPost
ATTEMPTS_KEPT_MS: Final = 86_400_000
WAITING_STATES: Final = ("retry", "fresh")
ROWS_MAX: Final = 500  # of one transaction, see engine.py


def old_given_up(now_ms: int) -> ColumnElement[bool]:
    """Which of them may go."""
    return (_batches.state == "given_up") & (_batches.due_at_ms < now_ms - GIVEN_UP_KEPT_MS)


def old_troubles(now_ms: int) -> ColumnElement[bool]:
    """Likewise."""
    return outbox_troubles.c.at_ms < now_ms - TROUBLES_KEPT_MS


def old_attempts(now_ms: int) -> ColumnElement[bool]:
    """Likewise."""
    return outbox_attempts.c.at_ms < now_ms - ATTEMPTS_KEPT_MS


def first_due(connection: Connection, webhook_id: str, *, now_ms: int, count_max: int) -> list[Row[Any]]:
    """Up to so many of each kind, retries and fresh: two looks into an index, however much waits. Locked for this transaction."""
    where = {"of": webhook_id, "now_ms": now_ms, "count": count_max}
    rows: list[Row[Any]] = []
    for state in WAITING_STATES:
        rows.extend(connection.execute(FIRST, {**where, "in_state": state}))
    return rows


def take_overflow(
    connection: Connection, webhook_id: str, *, bytes_max: int, cut_after_ms: int, now_ms: int
) -> tuple[Dropped, Moved]:
    """Delete the oldest that are too many or too old, at most `ROWS_MAX` of them; what that moves."""
    waiting_bytes: int = connection.execute(WAITING, {"of": webhook_id}).scalar() or 0
    where = {"of": webhook_id, "now_ms": now_ms, "count": ROWS_MAX}
    rows = [row for state in WAITING_STATES for row in connection.execute(FREE, {**where, "in_state": state})]
    going: list[Row[Any]] = []
    for row in sorted(rows, key=lambda row: row.cut_at_ms)[:ROWS_MAX]:
        if waiting_bytes <= bytes_max and row.cut_at_ms >= cut_after_ms:
            break
        going.append(row)
        waiting_bytes -= row.body_bytes
    if not going:
        return Dropped(0, 0), Moved()
    connection.execute(GONE, {"ids": [row.id for row in going]})
    events = sum(row.event_count for row in going)
    moved = Moved(-len(going), -events, -sum(row.body_bytes for row in going), dropped_events=events)
    return Dropped(len(going), events), moved


_batches: Final = outbox_batches.c

# Made once: to build a statement costs more than to run it.
WAITING: Final = (  # locked: two who look at once would each drop all that is too much
    select(outbox_lanes.c.waiting_bytes).where(outbox_lanes.c.webhook_id == bindparam("of")).with_for_update()
)
_is_due: Final = _batches.due_at_ms <= bindparam("now_ms")


def _of_one(condition: ColumnElement[bool]) -> Select[Any]:
    """So many of one webhook, in one state, those first that are due first."""
    return (
        select(_batches.id, _batches.cut_at_ms, _batches.due_at_ms, _batches.event_count, _batches.body_bytes)
        .where(_batches.webhook_id == bindparam("of"), _batches.state == bindparam("in_state"), condition)
        .order_by(_batches.due_at_ms)
        .limit(bindparam("count"))
        .with_for_update(skip_locked=True)
    )


FIRST: Final = _of_one(_is_due)
FREE: Final = _of_one(_is_due | _batches.claim.is_(None))  # also what waits for its next attempt, but nothing under way
GONE: Final = delete(outbox_batches).where(_batches.id.in_(bindparam("ids", expanding=True)))
