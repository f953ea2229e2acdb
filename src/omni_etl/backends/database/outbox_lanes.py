"""Lanes in the database: one row for each webhook, with what waits for it and how its attempts went.

Kept in the transactions that move batches, so that nobody ever counts them; also after their webhook is gone. Rows are written in order of ids: two
processes that write the same ones never wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, func, select, update

from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.outbox_tables import outbox_batches, outbox_lanes
from omni_etl.outbox import DueLane, Lane, OutboxCounts


@dataclass(slots=True)
class Moved:
    """What a transaction changes in a lane's counters."""

    waiting_batches: int = 0
    waiting_events: int = 0
    waiting_bytes: int = 0
    delivered_batches: int = 0
    delivered_events: int = 0
    given_up_batches: int = 0
    given_up_events: int = 0
    dropped_events: int = 0


class LaneRows:
    """Writes counters, in a transaction that is another's."""

    def __init__(self, database: Database) -> None:
        added = database.insert(outbox_lanes)
        names = [each.name for each in fields(Moved)]
        self._database = database
        self._add = added.on_conflict_do_update(
            index_elements=[_lanes.webhook_id],
            set_={name: _lanes[name] + added.excluded[name] for name in names},
        )

    def add(self, connection: Connection, moved: Mapping[str, Moved]) -> None:
        """Add to the counters of each webhook, a row for a new one."""
        if moved:
            rows = [{"webhook_id": each, **_values(moved[each])} for each in sorted(moved)]
            connection.execute(self._add, rows)

    def stop(self, connection: Connection, webhook_id: str, *, reason: str, now_ms: int) -> None:
        """Also where nothing ever waited; what was stopped before keeps its reason."""
        row = self._database.insert(outbox_lanes).values(
            webhook_id=webhook_id, stopped_at_ms=now_ms, stopped_reason=reason
        )
        kept = {name: func.coalesce(_lanes[name], row.excluded[name]) for name in ("stopped_at_ms", "stopped_reason")}
        connection.execute(row.on_conflict_do_update(index_elements=[_lanes.webhook_id], set_=kept))


def counts(connection: Connection) -> OutboxCounts:
    """Of all lanes together."""
    row = connection.execute(COUNTS).one()
    return OutboxCounts(**{name: int(value) for name, value in row._mapping.items()})  # noqa: SLF001 SQLAlchemy's public name


def due(connection: Connection) -> list[DueLane]:
    """Two looks into an index for each webhook that has something waiting."""
    rows = connection.execute(DUE)
    return [DueLane(lane_of(row), row.fresh_due_at_ms, row.retry_due_at_ms) for row in rows]


def lane_of(row: Row[Any]) -> Lane:
    """From a row that begins with `LANE`."""
    return Lane(*row[: len(LANE)])


def _values(moved: Moved) -> dict[str, int]:
    return {each.name: getattr(moved, each.name) for each in fields(Moved)}


def total(moved: Iterable[tuple[str, Moved]]) -> dict[str, Moved]:
    """One for each webhook."""
    sums: dict[str, Moved] = {}
    for webhook_id, each in moved:
        mine = sums.setdefault(webhook_id, Moved())
        for name, value in _values(each).items():
            setattr(mine, name, getattr(mine, name) + value)
    return sums


_lanes: Final = outbox_lanes.c
_batches: Final = outbox_batches.c
LANE: Final[tuple[ColumnElement[Any], ...]] = tuple(_lanes[each.name] for each in fields(Lane))


def _first(state: str) -> ColumnElement[int | None]:
    mine = (_batches.webhook_id == _lanes.webhook_id) & (_batches.state == state)
    return select(func.min(_batches.due_at_ms)).where(mine).scalar_subquery().label(f"{state}_due_at_ms")


# Made once: to build a statement costs more than to run it.
COUNTS: Final = select(
    *(func.coalesce(func.sum(_lanes[each.name]), 0).label(each.name) for each in fields(OutboxCounts))
)
DUE: Final[Select[Any]] = select(*LANE, _first("fresh"), _first("retry")).where(
    (_lanes.waiting_batches > 0) | _lanes.stopped_at_ms.is_not(None)
)
RESUME: Final = (
    update(outbox_lanes)
    .where(
        _lanes.webhook_id == bindparam("of"),
        _lanes.stopped_at_ms.is_not(None) | (_lanes.failures > 0) | (_lanes.resume_at_ms > 0),
    )
    .values(stopped_at_ms=None, stopped_reason=None, failures=0, failing_since_ms=None, resume_at_ms=0)
)
COURSE: Final = (  # of attempts
    "failures",
    "failing_since_ms",
    "succeeded_at_ms",
    "failed_at_ms",
    "resume_at_ms",
    "stopped_at_ms",
    "stopped_reason",
)
LOCKED: Final = (
    select(*LANE)
    .where(_lanes.webhook_id.in_(bindparam("ids", expanding=True)))
    .order_by(_lanes.webhook_id)
    .with_for_update()
)
ATTEMPTED: Final = (
    update(outbox_lanes)
    .where(_lanes.webhook_id == bindparam("of"))
    .values({name: bindparam(f"its_{name}") for name in COURSE})
)
