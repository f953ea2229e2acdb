"""Verdicts: what became of claimed batches, as many in one transaction as came while the one before was written.

At 40,000 events/s some 400 batches a second are delivered; an fsync for each would be the outbox's whole day.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, bindparam, delete, select, update

from omni_etl.backends.database.deliveries import Ended, Notes
from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.outbox_batches import Fresh, write_batches
from omni_etl.backends.database.outbox_lanes import ATTEMPTED, COURSE, LOCKED, LaneRows, Moved, lane_of, total
from omni_etl.backends.database.outbox_tables import outbox_batches
from omni_etl.outbox import FAILURES_OPEN, DueBatch, Lane, Verdict, failures_after, held_until_ms

VERDICTS_MAX: Final = 200  # of one transaction: up to 600 rows


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    due: DueBatch
    verdict: Verdict
    at_ms: int
    outcome: asyncio.Future[bool]

    @property
    def claim(self) -> tuple[str, str]:
        return self.due.batch.id, self.due.claim

    @property
    def webhook_id(self) -> str:
        return self.due.batch.webhook_id

    @property
    def is_delivered(self) -> bool:
        return self.verdict.kind == "delivered"


class Verdicts:
    """Group commit: one transaction at a time, for all who came while the one before was written."""

    def __init__(self, database: Database, lanes: LaneRows) -> None:
        self._database = database
        self._lanes = lanes
        self._notes = Notes(database)
        self._waiting: list[_Case] = []
        self._clerk: asyncio.Task[None] | None = None

    async def pass_on(self, due: DueBatch, verdict: Verdict, at_ms: int) -> bool:
        """Durable on return; False where the claim no longer holds. Cancelled, it may be written all the same.

        Raises:
            UnavailableError: the database is away; the claim lapses and the batch is tried again.

        """
        case = _Case(due, verdict, at_ms, asyncio.get_running_loop().create_future())
        self._waiting.append(case)
        if self._clerk is None or self._clerk.done():
            self._clerk = asyncio.create_task(self._write_all())
        return await case.outcome

    async def _write_all(self) -> None:
        """In a task of its own: who is cancelled while it writes for others fails them not."""
        while self._waiting:
            cases, self._waiting = self._waiting[:VERDICTS_MAX], self._waiting[VERDICTS_MAX:]
            writing = asyncio.create_task(self._database.write(partial(self._write, cases=cases)))
            await asyncio.wait([writing])
            _tell(cases, writing)

    def _write(self, connection: Connection, cases: Sequence[_Case]) -> list[bool]:
        """In another thread, perhaps: see `Database.write`."""
        standing, outcomes = _standing(connection, cases)
        self._notes.write(connection, [_ended(case) for case in standing])
        moved = _settle(connection, standing)
        if standing:  # last: every process wants the rows of lanes
            connection.execute(ATTEMPTED, _lane_rows(connection, standing))
            self._lanes.add(connection, moved)
        return outcomes


def _tell(cases: Sequence[_Case], written: asyncio.Task[list[bool]]) -> None:
    error = written.exception()
    outcomes: Sequence[bool | None] = [None] * len(cases) if error else written.result()
    for case, outcome in zip(cases, outcomes, strict=True):
        if case.outcome.done():
            continue  # cancelled: nobody waits
        if error is not None:
            case.outcome.set_exception(error)
        else:
            case.outcome.set_result(outcome is True)


def _standing(connection: Connection, cases: Sequence[_Case]) -> tuple[dict[_Case, int], list[bool]]:
    """Those whose claim holds, with the bytes of their bodies, and for each of all whether it does."""
    rows = connection.execute(STANDING, {"ids": [case.due.batch.id for case in cases]})
    held = {(row.id, row.claim): row.body_bytes for row in rows}
    standing: dict[_Case, int] = {}
    outcomes: list[bool] = []
    for case in cases:
        outcomes.append(case.claim in held)
        if outcomes[-1]:
            standing[case] = held.pop(case.claim)  # a second word about the same claim comes too late
    return standing, outcomes


def _settle(connection: Connection, cases: Mapping[_Case, int]) -> dict[str, Moved]:
    """Rows of batches, and what that moves in each lane."""
    gone = [case for case in cases if case.verdict.kind in {"delivered", "split"}]
    stays = [case for case in cases if case.verdict.kind in {"retry", "given_up"}]
    if gone:
        connection.execute(GONE, {"ids": [case.due.batch.id for case in gone]})
    if stays:
        connection.execute(STAYS, [_row(case) for case in stays])
    halves = [
        Fresh(half, case.due.cut_at_ms, case.at_ms) for case in gone for half in case.verdict.halves
    ]  # fresh, with all their attempts before them
    moved = [(case.webhook_id, _moved(case, body_bytes)) for case, body_bytes in cases.items()]
    return total(moved + write_batches(connection, halves))


def _moved(case: _Case, body_bytes: int) -> Moved:
    """Out of what waits, and into what it became."""
    events = case.due.batch.event_count
    match case.verdict.kind:
        case "delivered":
            return Moved(-1, -events, -body_bytes, delivered_batches=1, delivered_events=events)
        case "given_up":
            return Moved(-1, -events, -body_bytes, given_up_batches=1, given_up_events=events)
        case "split":
            return Moved(-1, -events, -body_bytes)  # its halves count anew
        case _:
            return Moved()


def _row(case: _Case) -> dict[str, object]:
    is_given_up = case.verdict.kind == "given_up"
    return {
        "of": case.due.batch.id,
        "into": "given_up" if is_given_up else "retry",
        "due_at": case.at_ms + (0 if is_given_up else int(case.verdict.retry_in_seconds * 1000)),
        "answer": case.verdict.answer,
        "more": 0 if case.due.is_probe and not is_given_up else 1,
    }


def _lane_rows(connection: Connection, cases: Iterable[_Case]) -> list[dict[str, object]]:
    """How these attempts went, in the order in which they ended."""
    rows = connection.execute(LOCKED, {"ids": sorted({case.webhook_id for case in cases})})
    lanes = {row.webhook_id: lane_of(row) for row in rows}
    for case in cases:
        lanes[case.webhook_id] = _after(lanes[case.webhook_id], case)
    return [
        {"of": each.webhook_id, **{f"its_{name}": getattr(each, name) for name in COURSE}} for each in lanes.values()
    ]


def _after(lane: Lane, case: _Case) -> Lane:
    if case.is_delivered:
        is_probed = lane.failures >= FAILURES_OPEN  # and the probe went through
        return replace(
            lane,
            failures=0,
            failing_since_ms=None,
            succeeded_at_ms=case.at_ms,
            resume_at_ms=0 if is_probed else lane.resume_at_ms,
        )
    is_stopping = lane.stopped_at_ms is None and case.verdict.stop_reason is not None
    until_ms = case.at_ms + int(case.verdict.hold_seconds * 1000) if case.verdict.hold_seconds else 0
    return replace(
        lane,
        failures=failures_after(lane.failures, is_probe=case.due.is_probe),
        failing_since_ms=case.at_ms if lane.failing_since_ms is None else lane.failing_since_ms,
        failed_at_ms=case.at_ms,
        resume_at_ms=max(held_until_ms(lane.resume_at_ms, now_ms=case.at_ms), until_ms),
        stopped_at_ms=case.at_ms if is_stopping else lane.stopped_at_ms,
        stopped_reason=case.verdict.stop_reason if is_stopping else lane.stopped_reason,
    )


def _ended(case: _Case) -> Ended:
    return Ended(case.due, case.verdict, case.at_ms)


_batches: Final = outbox_batches.c

# Made once: to build a statement costs more than to run it.
# By id alone: SQLite reads the whole table for pairs.
_ids: Final[BindParameter[Any]] = bindparam("ids", expanding=True)
STANDING: Final = (  # locked in order of ids: others that hold lapsed claims do the same
    select(_batches.id, _batches.claim, _batches.body_bytes)
    .where(_batches.id.in_(_ids))
    .order_by(_batches.id)
    .with_for_update()
)
GONE: Final = delete(outbox_batches).where(_batches.id.in_(_ids))
STAYS: Final = (
    update(outbox_batches)
    .where(_batches.id == bindparam("of"))
    .values(
        state=bindparam("into"),
        due_at_ms=bindparam("due_at"),
        last_answer=bindparam("answer"),
        claim=None,
        attempts=_batches.attempts + bindparam("more"),
    )
)
