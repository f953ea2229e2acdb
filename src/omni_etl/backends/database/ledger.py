"""Ledger: what a service remembers of an envelope, in the same transaction as its effect."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, Table, select

from omni_etl.backends.database.engine import Database
from omni_etl.envelope import Envelope
from omni_etl.errors import IdConflictError

KEPT_MS: Final = 60 * 86_400_000  # four times what any queue keeps


def enter(connection: Connection, database: Database, table: Table, *, envelope: Envelope, now_ms: int) -> bool:
    """Note the envelope; False where it was noted before, and then the effect has been made.

    Raises:
        IdConflictError: noted with another checksum.

    """
    row = {"key": envelope.key, "checksum": envelope.header.checksum, "applied_at_ms": now_ms}
    if connection.execute(database.insert(table).on_conflict_do_nothing(), row).rowcount:
        return True
    check(connection, table, envelope)
    return False


def check(connection: Connection, table: Table, envelope: Envelope) -> None:
    """Look without noting.

    Raises:
        IdConflictError: noted with another checksum.

    """
    stands = connection.execute(select(table.c.checksum).where(table.c.key == envelope.key)).scalar()
    if stands not in (None, envelope.header.checksum):
        raise IdConflictError(
            f"{table.name} holds {envelope.key} with checksum {stands}, this one has {envelope.header.checksum}"
        )
