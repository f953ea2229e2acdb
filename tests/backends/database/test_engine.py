"""The database's transactions: in turn, whole or not at all, and honest about trouble."""

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError
from tests.backends.database.conftest import Start

from omni_etl.backends.database import sqlite
from omni_etl.backends.database.engine import Database, open_database
from omni_etl.backends.database.migrate import Part
from omni_etl.backends.database.tables import fleet_words
from omni_etl.clock import ManualClock
from omni_etl.errors import SettingsError, UnavailableError


async def write(database: Database, name: str) -> None:
    """One row in one transaction."""
    async with database.writing() as connection:
        await connection.execute(insert(fleet_words), {"name": name, "value": "x"})


async def names(database: Database) -> list[str]:
    """The rows."""
    async with database.reading() as connection:
        return list((await connection.execute(select(fleet_words.c.name).order_by(fleet_words.c.name))).scalars())


@pytest.mark.parametrize("url", ["mysql://root:hush@db/omni", "postgres", "sqlite://relative", "sqlite:///", ""])
@pytest.mark.parametrize(("part", "setting"), [("control", "OMNI_DATABASE_URL"), ("queue", "OMNI_QUEUE_URL")])
def test_an_unknown_scheme_is_refused(url: str, part: Part, setting: str) -> None:
    """With the setting's name and what to write instead; a password is not repeated."""
    with pytest.raises(SettingsError, match=setting) as caught:
        open_database(url, part, ManualClock())
    assert "sqlite:///PATH" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_directory_is_no_queue(tmp_path: Path) -> None:
    """The queue is a file of its own; the other parts are files in a directory."""
    with pytest.raises(SettingsError, match="OMNI_QUEUE_URL"):
        open_database(f"sqlite:///{tmp_path}", "queue", ManualClock())
    assert open_database(f"sqlite:///{tmp_path}", "outbox", ManualClock()).path == tmp_path / "outbox.sqlite"


async def test_a_path_with_odd_characters_is_a_path(tmp_path: Path, clock: ManualClock) -> None:
    """Whatever a data directory is called."""
    database = open_database(f"sqlite:///{tmp_path}/a b?c#d%20é&mode=ro", "control", clock)
    await database.open("test")
    await write(database, "one")
    await database.close("test")
    assert (tmp_path / "a b?c#d%20é&mode=ro" / "control.sqlite").exists()


async def test_an_error_leaves_nothing_behind(control: Database) -> None:
    """Not even what came before it in the same transaction; and a fault of ours is not called an outage."""
    await write(control, "one")

    async def write_twice() -> None:
        async with control.writing() as connection:
            await connection.execute(insert(fleet_words), {"name": "two", "value": "x"})
            await connection.execute(insert(fleet_words), {"name": "one", "value": "x"})

    with pytest.raises(IntegrityError):
        await write_twice()
    assert await names(control) == ["one"]


async def test_a_cancelled_writer_leaves_nothing_behind_and_nobody_waiting(control: Database) -> None:
    """Between two statements or inside one, the write lock comes free at once."""
    for pauses in range(12):
        writer = asyncio.create_task(write(control, "cancelled"))
        for _ in range(pauses):
            await asyncio.sleep(0)
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        await asyncio.wait_for(write(control, f"after {pauses:02}"), 5)
        async with control.writing() as connection:
            await connection.execute(fleet_words.delete().where(fleet_words.c.name == "cancelled"))
    assert await names(control) == [f"after {pauses:02}" for pauses in range(12)]


async def test_a_writer_that_is_cancelled_inside_its_block_is_rolled_back(control: Database) -> None:
    """Its rows are gone and the next one goes on."""
    inside = asyncio.Event()

    async def hold() -> None:
        async with control.writing() as connection:
            await connection.execute(insert(fleet_words), {"name": "held", "value": "x"})
            inside.set()
            await asyncio.Event().wait()

    holder = asyncio.create_task(hold())
    await inside.wait()
    holder.cancel()
    await asyncio.gather(holder, return_exceptions=True)
    await asyncio.wait_for(write(control, "next"), 5)
    assert await names(control) == ["next"]


async def test_a_small_write_waits_only_for_those_before_it(control: Database) -> None:
    """Beside three bulk writers a one-row write comes fourth at the latest, not when they happen to pause."""
    finished: list[str] = []

    async def bulk(writer: int) -> None:
        for number in range(10):
            async with control.writing() as connection:
                rows = [{"name": f"{writer}-{number}-{row}", "value": "x" * 100} for row in range(500)]
                await connection.execute(insert(fleet_words), rows)
            finished.append("bulk")

    writers = [asyncio.create_task(bulk(writer)) for writer in range(3)]
    while len(finished) < 3:
        await asyncio.sleep(0)
    before = len(finished)
    await write(control, "small")
    assert len(finished) - before <= 4
    await asyncio.gather(*writers)


async def test_a_small_write_gets_through_beside_another_process(
    control: Database, start: Start, tmp_path: Path
) -> None:
    """Two processes share a file; neither is ever told that the database is locked."""
    process = start(BULK_WRITER.format(directory=tmp_path))
    assert process.stdout is not None
    process.stdout.readline()
    for number in range(20):
        await write(control, f"small {number}")
    assert process.poll() is None
    assert len([name for name in await names(control) if name.startswith("small")]) == 20


BULK_WRITER = """
import asyncio
from sqlalchemy import insert
from omni_etl.backends.database.engine import open_database
from omni_etl.backends.database.tables import fleet_words
from omni_etl.clock import SystemClock

async def main():
    database = open_database("sqlite:///{directory}", "control", SystemClock())
    await database.open("bulk")
    number = 0
    while True:
        rows = [{{"name": f"bulk {{number}} {{row}}", "value": "x"}} for row in range(500)]
        async with database.writing() as connection:
            await connection.execute(insert(fleet_words), rows)
        number += 1
        print(number, flush=True)

asyncio.run(main())
"""


async def test_a_reader_sees_what_is_committed_and_waits_for_nobody(control: Database) -> None:
    """While a writer is in the middle of its work."""
    await write(control, "one")
    async with control.writing() as connection:
        await connection.execute(insert(fleet_words), {"name": "two", "value": "x"})
        assert await names(control) == ["one"]
    assert await names(control) == ["one", "two"]


async def test_more_readers_than_connections_wait_in_turn(control: Database) -> None:
    """Nobody is refused."""
    await write(control, "one")
    assert await asyncio.gather(*(names(control) for _ in range(50))) == [["one"]] * 50


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


async def test_a_replaced_file_takes_the_next_write(control: Database, tmp_path: Path) -> None:
    """A connection to the file that was there before would write where nobody reads."""
    await write(control, "one")
    copy = tmp_path / "copy"
    with closing(sqlite3.connect(control.path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    copy.replace(control.path)
    for suffix in ("-wal", "-shm"):
        Path(f"{control.path}{suffix}").unlink(missing_ok=True)
    await write(control, "two")
    assert await names(control) == ["one", "two"]
    with closing(sqlite3.connect(control.path)) as connection:
        assert connection.execute("SELECT count(*) FROM fleet_words").fetchone() == (2,)


async def test_a_file_replaced_during_a_write_confirms_nothing(control: Database, tmp_path: Path) -> None:
    """Committed into a file without a name is not kept."""

    async def write_and_replace() -> None:
        async with control.writing() as connection:
            await connection.execute(insert(fleet_words), {"name": "one", "value": "x"})
            shutil.copy(control.path, tmp_path / "copy")
            (tmp_path / "copy").replace(control.path)

    with pytest.raises(UnavailableError, match="replaced"):
        await write_and_replace()


async def test_an_empty_file_in_our_place_is_an_outage(control: Database) -> None:
    """Its missing tables are not taken for a fault of ours."""
    await write(control, "one")
    for path in control.path.parent.glob("control.sqlite*"):
        path.unlink()
    control.path.touch()
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
    with control.path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\x55" * (control.path.stat().st_size - 8192))
    with pytest.raises(UnavailableError, match="malformed"):
        await names(control)


async def test_a_lock_that_another_keeps_too_long_is_an_outage(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stuck process beside us does not stop ours for ever."""
    monkeypatch.setattr(sqlite, "BUSY_MS_MAX", 50)
    database = open_database(f"sqlite:///{tmp_path}", "control", clock)
    await database.open("test")
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="locked"):
            await write(database, "one")
        other.execute("ROLLBACK")
    await write(database, "one")
    await database.close("test")


async def test_the_last_holder_closes(tmp_path: Path, clock: ManualClock) -> None:
    """Contracts of one file share it; who closes first takes nothing from the others."""
    database = open_database(f"sqlite:///{tmp_path}", "control", clock)
    for holder in ("one", "two", "two"):
        await database.open(holder)
    await write(database, "one")
    await database.close("one")
    assert database._writer.pool.checkedin() == 1  # type: ignore[attr-defined] # of a queue pool
    await database.close("two")
    assert database._writer.pool.checkedin() == 0  # type: ignore[attr-defined] # of a queue pool
    await database.open("three")
    assert await names(database) == ["one"]
    await database.close("three")
