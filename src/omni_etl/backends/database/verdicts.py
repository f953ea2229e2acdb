"""Verdicts: what became of claimed batches, as many in one transaction as came while the one before was written.

At 40,000 events/s some 400 batches a second are delivered; an fsync for each would be the outbox's whole day.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.tables import outbox_batches, outbox_counters
from omni_etl.errors import UnavailableError
from omni_etl.outbox import Batch, DueBatch

VERDICTS_MAX: Final = 200  # of one transaction: up to 400 rows


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an attempt ended."""

    state: Literal["waiting", "delivered", "given_up"]
    due_at_ms: int
    answer: str


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    due: DueBatch
    verdict: Verdict
    outcome: asyncio.Future[bool | UnavailableError]


class Verdicts:
    """Group commit: whoever comes first writes for all who wait."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Case] = []
        self._turn = asyncio.Lock()

    async def pass_on(self, due: DueBatch, verdict: Verdict) -> bool:
        """Durable on return; False where the claim no longer holds.

        Raises:
            UnavailableError: the database is away; the claim lapses and the batch is tried again.

        """
        case = _Case(due, verdict, asyncio.get_running_loop().create_future())
        self._waiting.append(case)
        async with self._turn:
            if not case.outcome.done():
                await self._write_waiting()
        outcome = await case.outcome
        if isinstance(outcome, UnavailableError):
            raise outcome
        return outcome

    async def _write_waiting(self) -> None:
        cases, self._waiting = self._waiting[:VERDICTS_MAX], self._waiting[VERDICTS_MAX:]
        try:
            outcomes = await self._write(cases)
        except UnavailableError as error:
            for case in cases:
                case.outcome.set_result(error)
        except BaseException:
            # Cancelled while writing for others, who are waiting for their turn: they write for themselves.
            self._waiting[:0] = cases
            raise
        else:
            for case, outcome in zip(cases, outcomes, strict=True):
                case.outcome.set_result(outcome)

    async def _write(self, cases: Sequence[_Case]) -> list[bool]:
        alike: defaultdict[Verdict, list[Batch]] = defaultdict(list)
        outcomes: list[bool] = []
        async with self._database.writing() as connection:
            held = await _held(connection, [_claim(case) for case in cases])
            for case in cases:
                outcomes.append(_claim(case) in held)
                if outcomes[-1]:
                    held.remove(_claim(case))  # a second word about the same claim comes too late
                    alike[case.verdict].append(case.due.batch)
            for verdict, batches in alike.items():
                await _settle(connection, verdict, batches)
        return outcomes


def _claim(case: _Case) -> tuple[str, str]:
    return case.due.batch.id, case.due.claim


async def _held(connection: AsyncConnection, claims: list[tuple[str, str]]) -> set[tuple[str, str]]:
    batches = outbox_batches.c
    statement = select(batches.id, batches.claim).where(tuple_(batches.id, batches.claim).in_(claims)).with_for_update()
    return {(row.id, row.claim) for row in await connection.execute(statement)}


async def _settle(connection: AsyncConnection, verdict: Verdict, batches: list[Batch]) -> None:
    mine = outbox_batches.c.id.in_([batch.id for batch in batches])
    if verdict.state == "delivered":
        await connection.execute(delete(outbox_batches).where(mine))
    else:
        attempts = outbox_batches.c.attempts + 1
        values = {"state": verdict.state, "due_at_ms": verdict.due_at_ms, "last_answer": verdict.answer, "claim": None}
        await connection.execute(update(outbox_batches).where(mine).values(attempts=attempts, **values))
    if verdict.state != "waiting":
        events = sum(batch.event_count for batch in batches)
        await _count(connection, verdict.state, batches=len(batches), events=events)


async def _count(connection: AsyncConnection, state: str, *, batches: int, events: int) -> None:
    counters = outbox_counters.c
    moved = {
        "waiting_batches": counters.waiting_batches - batches,
        "waiting_events": counters.waiting_events - events,
        f"{state}_batches": counters[f"{state}_batches"] + batches,
        f"{state}_events": counters[f"{state}_events"] + events,
    }
    await connection.execute(update(outbox_counters).values(moved))
