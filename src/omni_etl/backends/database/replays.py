"""Replays in the database, beside the outbox whose batches they make: one transaction holds both."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Row, bindparam, func, insert, select, update

from omni_etl.backends.database.engine import Database, Holder
from omni_etl.backends.database.outbox_batches import Fresh, write_batches
from omni_etl.backends.database.outbox_lanes import LaneRows, total
from omni_etl.backends.database.outbox_tables import outbox_replays
from omni_etl.clock import Clock
from omni_etl.event_search import Place
from omni_etl.replay import ClaimedReplay, Replay, Stride


class DatabaseReplays(Holder):
    """Rows; a claim is a time in a row."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock)
        self._lanes = LaneRows(database)

    async def begin(self, replay: Replay) -> None:
        """One row."""
        row = {each.name: getattr(replay, each.name) for each in fields(Replay)} | {"after": None}
        values = {**row, "due_at_ms": replay.created_at_ms}
        await self._database.write(lambda connection: connection.execute(insert(outbox_replays), values))

    async def find(self, webhook_id: str, replay_id: str) -> Replay | None:
        """By its key."""
        statement = select(outbox_replays).where(_replays.id == replay_id, _replays.webhook_id == webhook_id)
        row = await self._database.read(lambda connection: connection.execute(statement).first())
        return None if row is None else _replay(row)

    async def of_webhook(self, webhook_id: str, *, count_max: int) -> Sequence[Replay]:
        """Along an index."""
        mine = select(outbox_replays).where(_replays.webhook_id == webhook_id)
        newest = mine.order_by(_replays.created_at_ms.desc(), _replays.id).limit(count_max)
        return await self._database.read(lambda connection: [_replay(row) for row in connection.execute(newest)])

    async def cancel(self, webhook_id: str, replay_id: str) -> bool:
        """One UPDATE: a step that is under way is before it, or finds nothing to do."""
        now_ms = self._now_ms()
        statement = (
            update(outbox_replays)
            .where(_replays.id == replay_id, _replays.webhook_id == webhook_id, _replays.state == "waiting")
            .values(state="cancelled", finished_at_ms=now_ms, claim=None)
        )
        return bool(await self._database.write(lambda connection: connection.execute(statement).rowcount))

    async def claim(self, *, claim_seconds: int) -> ClaimedReplay | None:
        """A look first, which costs writers nothing."""
        now_ms, claim = self._now_ms(), secrets.token_hex(8)
        waiting = _replays.state == "waiting", _replays.due_at_ms <= now_ms
        look = select(_replays.id).where(*waiting).order_by(_replays.due_at_ms).limit(1)
        if await self._database.read(lambda connection: connection.execute(look).first()) is None:
            return None
        first = look.with_for_update(skip_locked=True).cte("first")
        take = (
            update(outbox_replays)
            .where(_replays.id.in_(select(first.c.id)), *waiting)
            .values(claim=claim, due_at_ms=now_ms + claim_seconds * 1000)
            .returning(*outbox_replays.c)
        )
        row = await self._database.write(lambda connection: connection.execute(take).first())
        return None if row is None else ClaimedReplay(_replay(row), claim)

    async def step(self, claimed: ClaimedReplay, stride: Stride, *, pause_seconds: float) -> Replay | None:
        """The job's row is locked first: whoever cancels comes before or after."""
        now_ms = self._now_ms()
        fresh = [Fresh(each, now_ms, now_ms) for each in stride.batches]
        values = {
            "of": claimed.replay.id,
            "held": claimed.claim,
            "more_found": stride.found,
            "more_sent": sum(each.event_count for each in stride.batches),
            "more_batches": len(stride.batches),
            "place": claimed.replay.after if stride.after is None else list(stride.after),
            "into": "done" if stride.is_last else "waiting",
            "end_ms": now_ms if stride.is_last else None,
            "again_at_ms": now_ms + int(pause_seconds * 1000),
        }

        def work(connection: Connection) -> Replay | None:
            row = connection.execute(STEP, values).first()
            if row is None:
                return None
            self._lanes.add(connection, total(write_batches(connection, fresh)))
            return _replay(row)

        return await self._database.write(work)

    async def note(self, claimed: ClaimedReplay, *, estimate: int | None = None, trouble: str | None = None) -> None:
        """One row."""
        values = {"of": claimed.replay.id, "held": claimed.claim, "about": estimate, "why": trouble}
        await self._database.write(lambda connection: connection.execute(NOTE, values))


def _replay(row: Row[Any]) -> Replay:
    values = {each.name: getattr(row, each.name) for each in fields(Replay)}
    return Replay(**values | {"after": None if row.after is None else Place(*row.after)})


_replays: Final = outbox_replays.c
_mine: Final = (_replays.id == bindparam("of")) & (_replays.claim == bindparam("held")) & (_replays.state == "waiting")

# Made once: to build a statement costs more than to run it.
STEP: Final = (
    update(outbox_replays)
    .where(_mine)
    .values(
        found=_replays.found + bindparam("more_found"),
        sent=_replays.sent + bindparam("more_sent"),
        batches=_replays.batches + bindparam("more_batches"),
        after=bindparam("place"),
        state=bindparam("into"),
        finished_at_ms=bindparam("end_ms"),
        due_at_ms=bindparam("again_at_ms"),
        claim=None,
        trouble=None,
    )
    .returning(*outbox_replays.c)
)
NOTE: Final = (
    update(outbox_replays)
    .where(_mine)
    .values(estimate=func.coalesce(bindparam("about", type_=BigInteger), _replays.estimate), trouble=bindparam("why"))
)
