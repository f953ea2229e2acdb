"""SQLite's own side: what is durable, who may write, when the write lock is taken, and what becomes of a lost file."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.backends.database.conftest import names, write

from omni_etl.backends.database import sqlite
from omni_etl.backends.database.engine import Database, open_database
from omni_etl.backends.database.migrate import Part
from omni_etl.backends.database.tables import fleet_words
from omni_etl.clock import ManualClock
from omni_etl.errors import SettingsError, UnavailableError


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A directory of files."""
    return f"sqlite:///{tmp_path}"


def path(database: Database) -> Path:
    """Its file."""
    return Path(database.place)


@pytest.mark.parametrize("url", ["sqlite://relative", "sqlite:///"])
@pytest.mark.parametrize(("part", "setting"), [("control", "OMNI_DATABASE_URL"), ("queue", "OMNI_QUEUE_URL")])
def test_no_path_is_refused(url: str, part: Part, setting: str) -> None:
    """With the setting's name and what to write instead."""
    with pytest.raises(SettingsError, match=setting) as caught:
        open_database(url, part, ManualClock())
    assert caught.value.fix == "Write sqlite:///PATH."


def test_a_directory_is_no_queue(tmp_path: Path) -> None:
    """The queue is a file of its own; the other parts are files in a directory."""
    with pytest.raises(SettingsError, match="OMNI_QUEUE_URL"):
        open_database(f"sqlite:///{tmp_path}", "queue", ManualClock())
    assert open_database(f"sqlite:///{tmp_path}", "outbox", ManualClock()).place == str(tmp_path / "outbox.sqlite")


async def test_a_path_with_odd_characters_is_a_path(tmp_path: Path, clock: ManualClock) -> None:
    """Whatever a data directory is called."""
    database = open_database(f"sqlite:///{tmp_path}/a b?c#d%20é&mode=ro", "control", clock)
    await database.open("test")
    await write(database, "one")
    await database.close("test")
    assert (tmp_path / "a b?c#d%20é&mode=ro" / "control.sqlite").exists()


async def test_a_directory_that_vanishes_is_waited_for(control: Database, tmp_path: Path) -> None:
    """Away, every call says so; back, everything is there, and what was confirmed is in the file that came back."""
    await write(control, "one")
    moved = tmp_path.with_name(tmp_path.name + "-moved")
    tmp_path.rename(moved)
    for call in (write(control, "lost"), names(control), write(control, "lost")):
        with pytest.raises(UnavailableError, match=r"control\.sqlite"):
            await call
    tmp_path.mkdir()
    with pytest.raises(UnavailableError, match=r"control\.sqlite"):
        await write(control, "lost")
    assert list(tmp_path.iterdir()) == []
    tmp_path.rmdir()
    moved.rename(tmp_path)
    await write(control, "two")
    assert await names(control) == ["one", "two"]


@pytest.mark.parametrize("has_mount_point", [False, True])
async def test_a_file_that_is_gone_is_not_made_anew(
    tmp_path: Path, clock: ManualClock, *, has_mount_point: bool
) -> None:
    """By no other process either: whoever looks or starts meanwhile waits, and those that run find their own file again."""
    directory = tmp_path / "database"
    running = open_database(f"sqlite:///{directory}", "control", clock)
    await running.open("test")
    await write(running, "one")
    moved = directory.rename(tmp_path / "moved")
    if has_mount_point:
        directory.mkdir()
    another = open_database(f"sqlite:///{directory}", "control", clock)
    with pytest.raises(UnavailableError, match="is its disk mounted"):
        await another.open("test")
    assert directory.exists() is has_mount_point
    if has_mount_point:
        directory.rmdir()
    moved.rename(directory)
    await another.open("test")
    await write(running, "two")
    assert await names(another) == ["one", "two"]
    await running.close("test")
    await another.close("test")


async def test_a_file_that_was_taken_away_for_good_is_made_anew(tmp_path: Path, clock: ManualClock) -> None:
    """By whoever removes the mark that the message names."""
    database = open_database(f"sqlite:///{tmp_path / 'database'}", "control", clock)
    await database.open("test")
    await database.close("test")
    shutil.rmtree(tmp_path / "database")
    sqlite.made_mark(path(database)).unlink()
    again = open_database(f"sqlite:///{tmp_path / 'database'}", "control", clock)
    await again.open("test")
    assert await names(again) == []
    await again.close("test")


def test_a_mark_lies_beside_the_directory() -> None:
    """Where a lost mount does not take it along; in the root beside the file itself."""
    assert sqlite.made_mark(Path("/a/queue/queue.sqlite")) == Path("/a/.queue-queue.sqlite.made")
    assert sqlite.made_mark(Path("/queue.sqlite")) == Path("/.-queue.sqlite.made")


async def test_a_replaced_file_takes_the_next_write(control: Database, tmp_path: Path) -> None:
    """A connection to the file that was there before would write where nobody reads."""
    await write(control, "one")
    copy = tmp_path / "copy"
    with closing(sqlite3.connect(path(control))) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    copy.replace(path(control))
    for suffix in ("-wal", "-shm"):
        Path(f"{path(control)}{suffix}").unlink(missing_ok=True)
    await write(control, "two")
    assert await names(control) == ["one", "two"]
    with closing(sqlite3.connect(path(control))) as connection:
        assert connection.execute("SELECT count(*) FROM fleet_words").fetchone() == (2,)


async def test_a_file_replaced_during_a_write_confirms_nothing(control: Database, tmp_path: Path) -> None:
    """Committed into a file without a name is not kept."""

    async def write_and_replace() -> None:
        async with control.writing() as connection:
            await connection.execute(insert(fleet_words), {"name": "one", "value": "x"})
            shutil.copy(path(control), tmp_path / "copy")
            (tmp_path / "copy").replace(path(control))

    with pytest.raises(UnavailableError, match="replaced"):
        await write_and_replace()


async def test_an_empty_file_in_our_place_is_an_outage(control: Database) -> None:
    """Its missing tables are not taken for a fault of ours."""
    await write(control, "one")
    for each in path(control).parent.glob("control.sqlite*"):
        each.unlink()
    path(control).touch()
    with pytest.raises(UnavailableError, match="no such table"):
        await write(control, "two")


async def test_a_full_disk_is_an_outage_and_heals(control: Database) -> None:
    """What was refused left nothing behind, and room makes the same write succeed."""
    async with control.writing() as connection:
        pages = (await connection.execute(text("PRAGMA page_count"))).scalar_one()
        await connection.execute(text(f"PRAGMA max_page_count={pages}"))
    rows = [{"name": str(number), "value": "x" * 1000} for number in range(500)]
    with pytest.raises(UnavailableError, match="full"):
        async with control.writing() as connection:
            await connection.execute(insert(fleet_words), rows)
    assert await names(control) == []
    async with control.writing() as connection:
        await connection.execute(text("PRAGMA max_page_count=100000"))
        await connection.execute(insert(fleet_words), rows)
    assert len(await names(control)) == 500


async def test_a_file_that_is_no_database_is_an_outage(tmp_path: Path, clock: ManualClock) -> None:
    """Named in the message; a human must look, and nothing is overwritten."""
    path = tmp_path / "control.sqlite"
    path.write_bytes(b"not a database, but of some length" * 100)
    database = open_database(f"sqlite:///{tmp_path}", "control", clock)
    with pytest.raises(UnavailableError, match="not a database"):
        await database.open("test")
    assert path.read_bytes().startswith(b"not a database")


async def test_a_damaged_file_is_an_outage(control: Database) -> None:
    """As it shows while we run."""
    rows = [{"name": str(number), "value": "x" * 1000} for number in range(500)]
    async with control.writing() as connection:
        await connection.execute(insert(fleet_words), rows)
    await control.close("test")
    with path(control).open("r+b") as file:
        file.seek(8192)
        file.write(b"\x55" * (path(control).stat().st_size - 8192))
    with pytest.raises(UnavailableError, match="malformed"):
        await names(control)


async def test_a_lock_that_another_keeps_too_long_is_an_outage(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stuck process beside us does not stop ours for ever."""
    monkeypatch.setattr(sqlite, "BUSY_MS_MAX", 50)
    database = open_database(f"sqlite:///{tmp_path}", "control", clock)
    await database.open("test")
    with closing(sqlite3.connect(database.place, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="locked"):
            await write(database, "one")
        other.execute("ROLLBACK")
    await write(database, "one")
    await database.close("test")


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
            closing(sqlite3.connect(path(control), timeout=0, isolation_level=None)) as other,
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
