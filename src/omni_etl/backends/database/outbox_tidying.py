"""Tidying of the outbox: what is old leaves, and what a clock that was wrong for a while put off is due again."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, Connection, Table, bindparam, select, update

from omni_etl.backends.database import ledger
from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.outbox_limits import old_attempts, old_given_up, old_troubles
from omni_etl.backends.database.outbox_tables import (
    outbox_attempts,
    outbox_batches,
    outbox_lanes,
    outbox_replays,
    outbox_troubles,
    webhooks_ledger,
)
from omni_etl.backends.database.pruning import Pruning
from omni_etl.clock import Clock

ROUNDS_MAX: Final = 10  # of one step: each envelope for a thousand webhooks leaves a thousand notes of attempts
ROWS_MAX: Final = 500  # of one transaction, see engine.py
LOOK_SECONDS: Final = 60.0
# No wait is as long: a claim is of a minute, a pause of a replay of some more, the last wait of a schedule of a day.
AHEAD_MS: Final = {"fresh": 3_600_000, "retry": 2 * 86_400_000}
REPLAYS_AHEAD_MS: Final = 3_600_000


class OutboxTidying:
    """Steps of a few short transactions each, most of which find nothing to do."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._pruning = Pruning(database, clock)
        self._look_at = 0.0

    async def step(self, now_ms: int) -> None:
        """Bounded. What it leaves, the next one finds."""
        if self._clock.monotonic() >= self._look_at:
            self._look_at = self._clock.monotonic() + LOOK_SECONDS
            await self._bring_back(now_ms)
        for table, condition in _old(now_ms):
            for _ in range(ROUNDS_MAX):
                if not self._pruning.is_due(table):
                    break
                await self._pruning.run(table, condition)

    async def _bring_back(self, now_ms: int) -> None:
        """A claim stays with its holder, whose verdict holds until somebody else takes the batch."""

        def work(connection: Connection) -> int:
            moved = 0
            for state, ahead_ms in AHEAD_MS.items():
                values = {"in_state": state, "beyond_ms": now_ms + ahead_ms, "now_ms": now_ms}
                moved += connection.execute(DUE_AGAIN, values).rowcount
            connection.execute(REPLAYS_DUE, {"beyond_ms": now_ms + REPLAYS_AHEAD_MS, "now_ms": now_ms})
            return moved

        for _ in range(ROUNDS_MAX):
            if not await self._database.write(work):
                return


def _old(now_ms: int) -> list[tuple[Table, ColumnElement[bool]]]:
    return [
        (webhooks_ledger, webhooks_ledger.c.applied_at_ms < now_ms - ledger.KEPT_MS),
        (outbox_batches, old_given_up(now_ms)),
        (outbox_troubles, old_troubles(now_ms)),
        (outbox_attempts, old_attempts(now_ms)),
    ]


_batches: Final = outbox_batches.c

# Made once: to build a statement costs more than to run it.
FAR: Final = (  # two looks into an index for each webhook for which something waits
    select(_batches.id)
    .where(
        _batches.webhook_id.in_(select(outbox_lanes.c.webhook_id).where(outbox_lanes.c.waiting_batches > 0)),
        _batches.state == bindparam("in_state"),
        _batches.due_at_ms > bindparam("beyond_ms"),
    )
    .limit(ROWS_MAX)
    .with_for_update(skip_locked=True)
)
DUE_AGAIN: Final = update(outbox_batches).where(_batches.id.in_(FAR)).values(due_at_ms=bindparam("now_ms"))
REPLAYS_DUE: Final = (
    update(outbox_replays)
    .where(outbox_replays.c.state == "waiting", outbox_replays.c.due_at_ms > bindparam("beyond_ms"))
    .values(due_at_ms=bindparam("now_ms"))
)
