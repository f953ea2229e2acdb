"""What is asked of the suppression list: conditions, pages, walks, and changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select, tuple_

from omni_etl.backends.database.tables import suppression_changes, suppressions
from omni_etl.backends.database.texts import AnyText
from omni_etl.suppression_list import Change, Changes, Entry, Place, Question, Saying, Walked

_is: Final = suppressions.c
KEY: Final = (_is.recipient, _is.subaccount_id, _is.type, _is.list_id)
ORDER: Final = (_is.said_at_ms, *KEY)
ENTRY: Final = (
    _is.subaccount_id,
    _is.recipient,
    _is.type,
    _is.source,
    _is.description,
    _is.created_at_ms,
    _is.said_at_ms,
    _is.list_id,
)
"""In the order of `Entry`'s members."""


def conditions(question: Question) -> list[ColumnElement[bool]]:
    """Of the entries that hold."""
    return [_is.suppressed, *_whose(question), *_which(question)]


def _whose(question: Question) -> Iterator[ColumnElement[bool]]:
    if question.subaccount_id is not None:
        yield _is.subaccount_id == question.subaccount_id
    if question.recipient is not None:
        yield _is.recipient == question.recipient
    if question.domain is not None:
        yield _is.recipient.endswith(f"@{question.domain}", autoescape=True)
    if question.list_id is not None:
        yield _is.list_id == question.list_id


def _which(question: Question) -> Iterator[ColumnElement[bool]]:
    if question.types:
        yield _is.type.in_(question.types)
    if question.sources:
        yield _is.source.in_(question.sources)
    if question.description is not None:
        yield _described(question.description, is_whole=question.description_strict)
    if question.from_ms is not None:
        yield _is.said_at_ms >= question.from_ms
    if question.until_ms is not None:
        yield _is.said_at_ms < question.until_ms


def _described(text: str, *, is_whole: bool) -> ColumnElement[bool]:
    if is_whole:
        return _is.description == text
    # Both products' `lower` knows ASCII alone here: PostgreSQL's because of COLLATE "C".
    small = "".join(each.lower() if each.isascii() else each for each in text)
    return func.lower(_is.description, type_=AnyText()).contains(small, autoescape=True)


def ordered(question: Question) -> Select[Any]:
    """By the time of the update, which nothing of the same time confuses."""
    order = [each.desc() for each in ORDER] if question.newest_first else list(ORDER)
    return select(*ENTRY).where(*conditions(question)).order_by(*order)


def entries(connection: Connection, statement: Select[Any]) -> list[Entry]:
    """What a SELECT of ENTRY finds."""
    return [Entry(*row[: len(ENTRY)]) for row in connection.execute(statement)]


def walk(connection: Connection, question: Question, place: Place | None, count_max: int) -> Walked:
    """First what did not change since the walk began, where a change could move it past us; then what did."""
    at = place or Place(_last(connection))
    stayed: list[Row[Any]] = []
    if at.change is None:
        stayed = list(connection.execute(_stayed(question, at).limit(count_max + 1)))
    wanted = count_max + 1 - len(stayed)
    came: list[Row[Any]] = []
    if wanted > 0:
        after = at.began_at if at.change is None else at.change
        came = list(connection.execute(_came(question, after).limit(wanted)))
    rows = [*stayed, *came][:count_max]
    seen = [Entry(*row[: len(ENTRY)]) for row in rows]
    if len(stayed) + len(came) <= count_max:
        return Walked(seen, None)
    if len(stayed) > count_max:
        last = seen[-1]
        place = Place(at.began_at, last.updated_at_ms, last.recipient, last.subaccount_id, last.type, last.list_id)
    else:
        place = Place(at.began_at, change=rows[-1].change if len(rows) > len(stayed) else at.began_at)
    return Walked(seen, place)


def _stayed(question: Question, at: Place) -> Select[Any]:
    statement = ordered(question).add_columns(_is.change).where(_is.change <= at.began_at)
    if at.updated_at_ms is None:
        return statement
    last = tuple_(at.updated_at_ms, at.recipient, at.subaccount_id, at.type, at.list_id, types=[c.type for c in ORDER])
    here = tuple_(*ORDER)
    return statement.where(here < last if question.newest_first else here > last)


def _came(question: Question, after: int) -> Select[Any]:
    statement = select(*ENTRY, _is.change).where(*conditions(question), _is.change > after)
    return statement.order_by(_is.change)


def changes(connection: Connection, since: int, count_max: int, subaccount_id: int | None) -> Changes:
    """One moment's: what is committed later has greater numbers."""
    last = _last(connection)
    statement = select(suppressions).where(_is.change > since).order_by(_is.change).limit(count_max)
    if subaccount_id is not None:
        statement = statement.where(_is.subaccount_id == subaccount_id)
    found = [_change(row) for row in connection.execute(statement)]
    is_all = len(found) < count_max
    return Changes(found, last if is_all else found[-1].number, is_all)


def _last(connection: Connection) -> int:
    last: int = connection.execute(select(suppression_changes.c.last)).scalar_one()
    return last


def _change(row: Row[Any]) -> Change:
    saying = Saying(
        subaccount_id=row.subaccount_id,
        recipient=row.recipient,
        type=row.type,
        suppressed=row.suppressed,
        said_at_ms=row.said_at_ms,
        said_id=row.said_id,
        source=row.source,
        description=row.description,
        list_id=row.list_id,
    )
    return Change(row.change, saying, row.created_at_ms)
