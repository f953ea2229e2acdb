"""sqlite_glances: a question on the loop itself sees what was committed, waits for nobody, and misses a file that went."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import bindparam, insert, select
from sqlalchemy.exc import DBAPIError
from tests.backends.database.conftest import opened

from omni_etl.backends.database.engine import Database, open_database
from omni_etl.backends.database.tables import fleet_words
from omni_etl.clock import ManualClock
from omni_etl.errors import UnavailableError

WORD = select(fleet_words.c.value).where(fleet_words.c.name == bindparam("name"))


@pytest.fixture
async def control(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Database]:
    """On a file."""
    async with opened(open_database(f"sqlite:///{tmp_path}", "control", clock)) as database:
        yield database


async def say(database: Database, value: str) -> None:
    """A word."""
    async with database.writing() as connection:
        await connection.execute(insert(fleet_words), {"name": "word", "value": value})


async def test_it_sees_what_was_committed(control: Database) -> None:
    """At once; and nothing of a transaction that is not over."""
    assert await control.glance(WORD, "word") == []
    async with control.writing() as connection:
        await connection.execute(insert(fleet_words), {"name": "word", "value": "é"})
        assert await control.glance(WORD, "word") == []
    assert [tuple(row) for row in await control.glance(WORD, "word")] == [("é",)]


async def test_a_file_that_went_is_an_outage(control: Database, tmp_path: Path) -> None:
    """Not read on from memory, not made anew; the one that is put in its place is read."""
    await say(control, "old")
    assert await control.glance(WORD, "word")
    file = tmp_path / "control.sqlite"
    file.rename(tmp_path / "moved")
    with pytest.raises(UnavailableError):
        await control.glance(WORD, "word")
    assert not file.exists()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE fleet_words (name TEXT, value TEXT)")
        connection.execute("INSERT INTO fleet_words VALUES ('word', 'new')")
        connection.commit()
    assert [tuple(row) for row in await control.glance(WORD, "word")] == [("new",)]


async def test_a_lock_is_waited_for_in_a_thread(control: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never on the loop: everybody would wait."""
    await say(control, "here")

    def locked(*_: object) -> object:
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY_RECOVERY
        raise DBAPIError("", None, error)

    monkeypatch.setattr(control.product._glances, "rows", locked)  # type: ignore[attr-defined]  # SQLite's
    assert [tuple(row) for row in await control.glance(WORD, "word")] == [("here",)]


async def test_it_cannot_write(control: Database) -> None:
    """Whatever it is asked."""
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        control.product._glances._connected().execute("DELETE FROM fleet_words")  # type: ignore[attr-defined]  # SQLite's


async def test_it_opens_again_after_a_close(control: Database) -> None:
    """As every pool does."""
    await say(control, "here")
    await control.product.close()
    assert len(await control.glance(WORD, "word")) == 1
