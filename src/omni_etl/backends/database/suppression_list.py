"""The suppression list in the database: the greatest saying stands, and the ledger row is in its transaction.

Questions are in `suppression_search.py`; how a saying becomes a row, in `suppression_sayings.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, and_, bindparam, func, select, update

from omni_etl.backends.database import ledger, suppression_search
from omni_etl.backends.database.engine import Database, Holder
from omni_etl.backends.database.pruning import Pruning
from omni_etl.backends.database.suppression_sayings import Sayings
from omni_etl.backends.database.tables import suppression_changes, suppressions, suppressions_ledger
from omni_etl.clock import Clock
from omni_etl.envelope import Envelope
from omni_etl.suppression_list import (
    EVERYTHING,
    TYPES,
    Changes,
    Entry,
    Place,
    Question,
    Removal,
    Saying,
    SuppressionType,
    Walked,
    Wish,
    address_key,
)

TOMBSTONES_KEPT_MS: Final = 90 * 86_400_000


class DatabaseSuppressionList(Holder):
    """Rows hold what was said last: entries that hold, and tombstones."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock)
        self._pruning = Pruning(database, clock)
        self._sayings = Sayings(database)

    async def apply(self, envelope: Envelope, sayings: Sequence[Saying]) -> bool:
        """One transaction. Without sayings nothing is written, only the checksum compared.

        Doing nothing twice is harmless, and most envelopes say nothing: a row for each would be an fsync for each.
        """
        if not sayings:
            await self._database.read(lambda connection: ledger.check(connection, suppressions_ledger, envelope))
            return True
        now_ms = self._now_ms()

        def work(connection: Connection) -> bool:
            if not ledger.enter(connection, self._database, suppressions_ledger, envelope=envelope, now_ms=now_ms):
                return False
            self._sayings.say(connection, sayings)
            return True

        is_new = await self._database.write(work)
        if is_new:
            await self._prune(now_ms)
        return is_new

    async def say(self, sayings: Sequence[Saying]) -> None:
        """Sayings of any time, in one transaction."""
        if sayings:
            await self._database.write(lambda connection: self._sayings.say(connection, sayings))

    async def put(self, wishes: Sequence[Wish]) -> None:
        """Suppress as of now, in one transaction."""
        if wishes:
            now_ms = self._now_ms()
            await self._database.write(lambda connection: self._sayings.put(connection, wishes, now_ms))

    async def remove(
        self,
        recipient: str,
        *,
        subaccount_id: int,
        types: Sequence[SuppressionType] = TYPES,
        list_id: str | None = None,
    ) -> Removal:
        """Delete as of now, in one transaction."""
        now_ms = self._now_ms()
        question = Question(subaccount_id, address_key(recipient), tuple(types), list_id=list_id)
        return await self._database.write(lambda connection: self._sayings.remove(connection, question, now_ms))

    async def withdraw(self, recipient: str) -> int:
        """For an erasure, in one transaction."""
        now_ms = self._now_ms()
        return await self._database.write(lambda connection: self._sayings.withdraw(connection, recipient, now_ms))

    async def forget(self, recipient: str) -> None:
        """Likewise."""
        await self._database.write(lambda connection: self._sayings.forget(connection, recipient))

    async def check(self, recipient: str, subaccount_id: int | None = None) -> list[Entry]:
        """By subaccount, type and list. Mail servers ask it of each message: see `Product.glance`."""
        key = address_key(recipient)
        if subaccount_id is None:
            rows = await self._database.glance(CHECK, key)
        else:
            rows = await self._database.glance(CHECK_ONE, key, subaccount_id)
        return [Entry(*row) for row in rows]

    async def count(self, question: Question = EVERYTHING) -> int:
        """Without conditions along an index of just these."""
        counted = select(func.count()).select_from(suppressions).where(*suppression_search.conditions(question))
        return await self._database.read(lambda connection: connection.execute(counted).scalar_one())

    async def search(self, question: Question, *, count_max: int, offset: int = 0) -> list[Entry]:
        """One moment's."""
        found = suppression_search.ordered(question).limit(count_max).offset(offset)
        return await self._database.read(lambda connection: suppression_search.entries(connection, found))

    async def walk(self, question: Question, place: Place | None = None, *, count_max: int) -> Walked:
        """By what stands in `place`; nothing is kept here between two calls."""
        return await self._database.read(
            lambda connection: suppression_search.walk(connection, question, place, count_max)
        )

    async def summary(self, subaccount_id: int | None = None) -> dict[str, int]:
        """Counted, not kept."""
        standing = suppression_search.conditions(Question(subaccount_id))
        statement = select(suppressions.c.source, func.count()).where(*standing).group_by(suppressions.c.source)
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return {source: count for source, count in rows}  # noqa: C416 rows are no pairs to `dict`

    async def changes(self, since: int, *, count_max: int, subaccount_id: int | None = None) -> Changes:
        """Along an index of the numbers."""
        return await self._database.read(
            lambda connection: suppression_search.changes(connection, since, count_max, subaccount_id)
        )

    async def can_resume(self, since: int) -> bool:
        """By the greatest number of what was pruned."""
        [[last, forgotten]] = await self._database.glance(CHANGES_KNOWN)
        return not since or forgotten <= since <= last

    async def last_change(self) -> int:
        """One row."""
        [[last, _forgotten]] = await self._database.glance(CHANGES_KNOWN)
        return int(last)

    async def _prune(self, now_ms: int) -> None:
        if self._pruning.is_due(suppressions_ledger):
            old = suppressions_ledger.c.applied_at_ms < now_ms - ledger.KEPT_MS
            await self._pruning.run(suppressions_ledger, old)
        if self._pruning.is_due(suppressions):
            # Noted first: who reads changes must hear that it missed a deletion, even if we die in between.
            said_before_ms = now_ms - TOMBSTONES_KEPT_MS
            await self._database.write(lambda connection: connection.execute(FORGET, {"before_ms": said_before_ms}))
            old = and_(~suppressions.c.suppressed, suppressions.c.said_at_ms < said_before_ms)
            await self._pruning.run(suppressions, old)


# Made once: to build a statement costs more than to run it.
_SHOWN: Final = select(*suppression_search.ENTRY).where(suppressions.c.suppressed)
_ORDER: Final = (suppressions.c.subaccount_id, suppressions.c.type, suppressions.c.list_id)
CHECK: Final = _SHOWN.where(suppressions.c.recipient == bindparam("recipient")).order_by(*_ORDER)
CHECK_ONE: Final = CHECK.where(suppressions.c.subaccount_id == bindparam("subaccount_id"))
CHANGES_KNOWN: Final = select(suppression_changes.c.last, suppression_changes.c.forgotten)
_forgettable: Final = (
    select(func.max(suppressions.c.change))
    .where(~suppressions.c.suppressed, suppressions.c.said_at_ms < bindparam("before_ms"))
    .scalar_subquery()
)
FORGET: Final = (
    update(suppression_changes).where(_forgettable > suppression_changes.c.forgotten).values(forgotten=_forgettable)
)
