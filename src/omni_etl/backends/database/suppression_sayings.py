"""How sayings become rows. Each row carries the number of its change, and numbers grow in the order of commits.

Whoever writes takes its numbers from one row first, and holds that row until its commit: a sequence would be faster, but
hands out numbers in an order that commits need not follow, and a reader that saw 8 would never go back for 7.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, case, delete, or_, select, update

from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.product import Insert
from omni_etl.backends.database.suppression_search import KEY, conditions
from omni_etl.backends.database.tables import suppression_changes, suppressions
from omni_etl.suppression_list import COMPLIANCE, MANUAL, Question, Removal, Saying, Wish

SAID: Final = ("suppressed", "said_at_ms", "said_id", "source", "description", "change")


class Sayings:
    """In the caller's transaction, which takes no other lock of this table's before."""

    def __init__(self, database: Database) -> None:
        new = database.insert(suppressions)
        self._say, self._put = _upsert_of_any_time(new), _upsert_as_of_now(new)

    def say(self, connection: Connection, sayings: Sequence[Saying]) -> None:
        """What is greater than what stands."""
        connection.execute(self._say, _numbered(connection, sayings))

    def put(self, connection: Connection, wishes: Sequence[Wish], now_ms: int) -> None:
        """What stands gives way, also where its time is still to come: an answer of 200 must be true."""
        said_id = secrets.token_hex(8)
        sayings = [
            Saying(
                subaccount_id=each.subaccount_id,
                recipient=each.recipient,
                type=each.type,
                suppressed=True,
                said_at_ms=now_ms,
                said_id=said_id,
                source=MANUAL,
                description=each.description,
                list_id=each.list_id,
            )
            for each in wishes
        ]
        connection.execute(self._put, _numbered(connection, sayings))

    def remove(self, connection: Connection, question: Question, now_ms: int) -> Removal:
        """Likewise."""
        standing = conditions(question)
        # The numbers first, and with them the lock: what is found stays as it is until this commits.
        following = _take(connection, 0) + 1
        found = connection.execute(select(suppressions).where(*standing)).all()
        if not found:
            return "unknown"
        if any(row.source == COMPLIANCE for row in found):
            return "compliance"
        _bury(connection, found, following, now_ms)
        return "removed"

    def withdraw(self, connection: Connection, recipient: str, now_ms: int) -> int:
        """For an erasure: whatever holds for this recipient ends, for compliance or not; how much it was."""
        following = _take(connection, 0) + 1
        holding = conditions(Question(recipient=recipient))
        found = connection.execute(select(suppressions).where(*holding)).all()
        if found:
            _bury(connection, found, following, now_ms)
        return len(found)

    def forget(self, connection: Connection, recipient: str) -> None:
        """And its tombstones go, as if they had been pruned: with a number, so that even who saw the last change begins anew.

        What was said since is newer than the erasure, and stays.
        """
        number = _take(connection, 1)
        buried = suppressions.c.recipient == recipient, ~suppressions.c.suppressed
        if connection.execute(delete(suppressions).where(*buried)).rowcount:
            connection.execute(update(suppression_changes).values(forgotten=number))


def _bury(connection: Connection, found: Sequence[Row[Any]], following: int, now_ms: int) -> None:
    """Rows become tombstones, with the numbers from `following` on."""
    _take(connection, len(found))
    said_id = secrets.token_hex(8)
    tombstones = [
        {
            **{f"of_{column.name}": getattr(row, column.name) for column in KEY},
            "said_at_ms": max(now_ms, row.said_at_ms + 1),
            "said_id": said_id,
            "change": number,
        }
        for number, row in enumerate(found, start=following)
    ]
    connection.execute(_BURY, tombstones)


def _upsert_of_any_time(new: Insert) -> Insert:
    said, stands = new.excluded, suppressions.c
    is_later = or_(
        said.said_at_ms > stands.said_at_ms,
        and_(said.said_at_ms == stands.said_at_ms, said.said_id > stands.said_id),
    )
    for_compliance, is_compliance = said.source == COMPLIANCE, stands.source == COMPLIANCE
    is_greater = or_(
        and_(for_compliance, ~is_compliance),
        and_(or_(for_compliance, ~is_compliance), is_later),
    )
    return _upsert(new, said.said_at_ms, is_greater)


def _upsert_as_of_now(new: Insert) -> Insert:
    said, stands = new.excluded, suppressions.c
    at_ms = case((said.said_at_ms > stands.said_at_ms, said.said_at_ms), else_=stands.said_at_ms + 1)
    return _upsert(new, at_ms, stands.source != COMPLIANCE)


def _upsert(new: Insert, said_at_ms: ColumnElement[int], condition: ColumnElement[bool]) -> Insert:
    said, stands = new.excluded, suppressions.c
    values: dict[str, ColumnElement[Any]] = {name: said[name] for name in SAID}
    values["said_at_ms"] = said_at_ms
    still_suppressed = and_(stands.suppressed, said.suppressed)
    values["created_at_ms"] = case((still_suppressed, stands.created_at_ms), else_=said_at_ms)
    return new.on_conflict_do_update(index_elements=list(KEY), set_=values, where=condition)


def _numbered(connection: Connection, sayings: Sequence[Saying]) -> list[dict[str, object]]:
    """The last word about each, whatever the order in the envelope."""
    greatest = {
        (each.recipient, each.subaccount_id, each.type, each.list_id): each
        for each in sorted(sayings, key=lambda saying: saying.rank)
    }
    last = _take(connection, len(greatest))
    return [_row(saying, number) for number, saying in enumerate(greatest.values(), start=last - len(greatest) + 1)]


def _take(connection: Connection, count: int) -> int:
    """So many numbers; answers the last. Nobody else gets one before this transaction ends."""
    last: int = connection.execute(_TAKE, {"count": count}).scalar_one()
    return last


def _row(saying: Saying, number: int) -> dict[str, object]:
    return {
        "recipient": saying.recipient,
        "subaccount_id": saying.subaccount_id,
        "type": saying.type,
        "list_id": saying.list_id,
        "suppressed": saying.suppressed,
        "said_at_ms": saying.said_at_ms,
        "said_id": saying.said_id,
        "source": saying.source,
        "description": saying.description,
        "created_at_ms": saying.said_at_ms,
        "change": number,
    }


# Made once: to build a statement costs more than to run it.
_TAKE: Final = (
    update(suppression_changes)
    .values(last=suppression_changes.c.last + bindparam("count"))
    .returning(suppression_changes.c.last)
)
_BURY: Final = (
    update(suppressions)
    .where(*(column == bindparam(f"of_{column.name}") for column in KEY))
    .values(
        suppressed=False,
        said_at_ms=bindparam("said_at_ms"),
        said_id=bindparam("said_id"),
        source=MANUAL,
        description="",
        created_at_ms=bindparam("said_at_ms"),
        change=bindparam("change"),
    )
)
