"""The ledgers in the database as the audit reads them: ranges of the primary key, counted by the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    case,
    cast,
    func,
    literal,
    select,
    union_all,
)

from omni_etl.audit import Gap, Span, Tally
from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.outbox_tables import webhooks_ledger
from omni_etl.backends.database.tables import suppressions_ledger

KEYS_AT_ONCE: Final = 500


class DatabaseLedgers:
    """Suppressions' in the control part, webhooks' in the outbox's."""

    def __init__(self, control: Database, outbox: Database) -> None:
        self._parts = (control, outbox)
        self._ledgers = {
            "suppressions": DatabaseLedger(control, suppressions_ledger),
            "webhooks": DatabaseLedger(outbox, webhooks_ledger),
        }

    async def open(self) -> None:
        """Connect and migrate."""
        for part in self._parts:
            await part.open(self)

    async def close(self) -> None:
        """Give back connections."""
        for part in self._parts:
            await part.close(self)

    def ledger(self, service: str) -> DatabaseLedger | None:
        """Of the two that are here."""
        return self._ledgers.get(service)

    async def numbers(self, service: str, span: Span) -> frozenset[int]:
        """All of them."""
        return await self._ledgers[service].numbers(span)


class DatabaseLedger:
    """One table. A key is its primary key, so nothing can be repeated; it counts no events."""

    def __init__(self, database: Database, table: Table) -> None:
        self._database = database
        self._table = table

    async def tallies(self, spans: Sequence[Span]) -> Mapping[str, Tally]:
        """A range of keys for each."""
        found: dict[str, Tally] = {}
        for span in spans:
            counts = await self._database.read(partial(_counts, statement=self._tally(span)))
            found[span.prefix] = Tally(*counts)
        return found

    async def gaps(self, span: Span, *, count_max: int) -> Sequence[Gap]:
        """By a window over its numbers in order, with one behind the last."""
        seq = _seq(self._table, span)
        held = select(seq.label("seq")).where(*_within(self._table, span), seq.between(span.low, span.settled))
        ends = union_all(held, select(literal(span.settled + 1, BigInteger).label("seq"))).subquery()
        previous = func.coalesce(func.lag(ends.c.seq).over(order_by=ends.c.seq), span.low - 1).label("previous")
        pairs = select(ends.c.seq, previous).subquery()
        statement = (
            select(pairs.c.previous + 1, pairs.c.seq - 1)
            .where(pairs.c.seq > pairs.c.previous + 1)
            .order_by(pairs.c.seq)
            .limit(count_max)
        )
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return [(int(first), int(last)) for first, last in rows]

    async def held(self, keys: Sequence[str]) -> frozenset[str]:
        """By the primary key."""
        found: set[str] = set()
        for start in range(0, len(keys), KEYS_AT_ONCE):
            some = select(self._table.c.key).where(self._table.c.key.in_(keys[start : start + KEYS_AT_ONCE]))
            found.update(await self._database.read(partial(_column, statement=some)))
        return frozenset(found)

    async def numbers(self, span: Span) -> frozenset[int]:
        """Up to `settled`."""
        seq = _seq(self._table, span)
        some = select(seq).where(*_within(self._table, span), seq.between(span.low, span.settled))
        return frozenset(map(int, await self._database.read(partial(_column, statement=some))))

    def _tally(self, span: Span) -> Select[Any]:
        seq = _seq(self._table, span)
        is_settled = case((seq <= span.settled, 1), else_=0)
        counts = func.coalesce(func.sum(is_settled), 0), func.coalesce(func.sum(1 - is_settled), 0)
        return select(*counts).where(*_within(self._table, span), seq >= span.low)


def _within(table: Table, span: Span) -> tuple[ColumnElement[bool], ...]:
    return table.c.key > span.prefix, table.c.key < span.end


def _seq(table: Table, span: Span) -> ColumnElement[int]:
    """The number in a key of this span; of other keys nothing is read, whatever order conditions are tried in."""
    digits = func.substr(table.c.key, len(span.prefix) + 1)
    return case((and_(*_within(table, span)), cast(digits, BigInteger)), else_=-1)


def _counts(connection: Connection, statement: Select[Any]) -> tuple[int, int]:
    settled, beyond = connection.execute(statement).one()
    return int(settled), int(beyond)


def _column(connection: Connection, statement: Select[Any]) -> Sequence[Any]:
    return connection.execute(statement).scalars().all()
