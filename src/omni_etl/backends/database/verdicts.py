"""Verdicts: what became of claimed batches, as many in one transaction as came while the one before was written.

At 40,000 events/s some 400 batches a second are delivered; an fsync for each would be the outbox's whole day.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from sqlalchemy import Connection, bindparam, delete, select, update

from omni_etl.backends.database.deliveries import Ended, Notes
from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.tables import outbox_batches, outbox_counters
from omni_etl.outbox import DueBatch

VERDICTS_MAX: Final = 200  # of one transaction: up to 400 rows


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an attempt ended, and when. `due_at_ms` says nothing of what was delivered."""

    state: Literal["waiting", "delivered", "given_up"]
    at_ms: int
    answer: str
    due_at_ms: int = 0
    latency_ms: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    due: DueBatch
    verdict: Verdict
    outcome: asyncio.Future[bool]

    @property
    def claim(self) -> tuple[str, str]:
        return self.due.batch.id, self.due.claim


class Verdicts:
    """Group commit: one transaction at a time, for all who came while the one before was written."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._notes = Notes(database)
        self._waiting: list[_Case] = []
        self._clerk: asyncio.Task[None] | None = None

    async def pass_on(self, due: DueBatch, verdict: Verdict) -> bool:
        """Durable on return; False where the claim no longer holds. Cancelled, it may be written all the same.

        Raises:
            UnavailableError: the database is away; the claim lapses and the batch is tried again.

        """
        case = _Case(due, verdict, asyncio.get_running_loop().create_future())
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
        _settle(connection, standing)  # last: everyone wants the one row of counters
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


def _standing(connection: Connection, cases: Sequence[_Case]) -> tuple[list[_Case], list[bool]]:
    """Those whose claim holds, and for each of all whether it does."""
    rows = connection.execute(STANDING, {"ids": [case.due.batch.id for case in cases]})
    held = {(row.id, row.claim) for row in rows}
    standing: list[_Case] = []
    outcomes: list[bool] = []
    for case in cases:
        outcomes.append(case.claim in held)
        if outcomes[-1]:
            held.remove(case.claim)  # a second word about the same claim comes too late
            standing.append(case)
    return standing, outcomes


def _settle(connection: Connection, cases: Sequence[_Case]) -> None:
    delivered = [case for case in cases if case.verdict.state == "delivered"]
    failed = [case for case in cases if case.verdict.state != "delivered"]
    given_up = [case for case in failed if case.verdict.state == "given_up"]
    if delivered:
        connection.execute(GONE, {"ids": [case.due.batch.id for case in delivered]})
    if failed:
        connection.execute(STAYS, [_row(case) for case in failed])
    if delivered or given_up:
        moved = {"delivered": len(delivered), "delivered_of": _events(delivered)}
        connection.execute(COUNTED, {**moved, "given_up": len(given_up), "given_up_of": _events(given_up)})


def _row(case: _Case) -> dict[str, object]:
    said = case.verdict
    return {"of": case.due.batch.id, "into": said.state, "due_at": said.due_at_ms, "answer": said.answer}


def _ended(case: _Case) -> Ended:
    said = case.verdict
    return Ended(case.due, said.state == "delivered", said.answer, said.latency_ms, said.at_ms)


def _events(cases: Iterable[_Case]) -> int:
    return sum(case.due.batch.event_count for case in cases)


_batches: Final = outbox_batches.c
_counters: Final = outbox_counters.c

# Made once: to build a statement costs more than to run it.
# By id alone: SQLite reads the whole table for pairs.
STANDING: Final = (
    select(_batches.id, _batches.claim).where(_batches.id.in_(bindparam("ids", expanding=True))).with_for_update()
)
GONE: Final = delete(outbox_batches).where(_batches.id.in_(bindparam("ids", expanding=True)))
STAYS: Final = (
    update(outbox_batches)
    .where(_batches.id == bindparam("of"))
    .values(
        state=bindparam("into"),
        due_at_ms=bindparam("due_at"),
        last_answer=bindparam("answer"),
        claim=None,
        attempts=_batches.attempts + 1,
    )
)
COUNTED: Final = update(outbox_counters).values(
    waiting_batches=_counters.waiting_batches - bindparam("delivered") - bindparam("given_up"),
    waiting_events=_counters.waiting_events - bindparam("delivered_of") - bindparam("given_up_of"),
    delivered_batches=_counters.delivered_batches + bindparam("delivered"),
    delivered_events=_counters.delivered_events + bindparam("delivered_of"),
    given_up_batches=_counters.given_up_batches + bindparam("given_up"),
    given_up_events=_counters.given_up_events + bindparam("given_up_of"),
)
