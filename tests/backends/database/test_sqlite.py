"""SQLite's own side: what is durable, who may write, and when the write lock is taken."""

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.tables import fleet_words
from omni_etl.errors import UnavailableError


async def pragma(connection: AsyncConnection, name: str) -> object:
    """What holds on this very connection."""
    return (await connection.execute(text(f"PRAGMA {name}"))).scalar()


async def test_a_commit_is_on_the_disk(control: Database, outbox_part: Database, queue_part: Database) -> None:
    """The connection that writes syncs its log at every commit: WAL with synchronous=FULL (2), in each part."""
    for database in (control, outbox_part, queue_part):
        async with database.writing() as connection:
            assert await pragma(connection, "journal_mode") == "wal"
            assert await pragma(connection, "synchronous") == 2
            assert await pragma(connection, "foreign_keys") == 1
            assert await pragma(connection, "busy_timeout") == 10_000


async def test_a_write_lock_is_taken_at_the_beginning(control: Database) -> None:
    """Before the first statement: a reader that turns writer would fail at once beside another."""
    async with control.writing():
        with (
            closing(sqlite3.connect(control.path, timeout=0, isolation_level=None)) as other,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            other.execute("BEGIN IMMEDIATE")


async def test_a_reading_transaction_cannot_write(control: Database) -> None:
    """A write without the lock would be a fault of ours; the engine refuses it."""
    with pytest.raises(UnavailableError, match="readonly"):
        async with control.reading() as connection:
            await connection.execute(insert(fleet_words), {"name": "x", "value": "x"})


async def test_a_reading_transaction_sees_one_moment(control: Database) -> None:
    """Two looks in it agree, whatever is written in between."""
    async with control.reading() as connection:
        before = (await connection.execute(text("SELECT count(*) FROM fleet_words"))).scalar()
        async with control.writing() as writer:
            await writer.execute(insert(fleet_words), {"name": "x", "value": "x"})
        assert (await connection.execute(text("SELECT count(*) FROM fleet_words"))).scalar() == before
