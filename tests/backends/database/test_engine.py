"""The database's transactions, on each product: in turn, whole or not at all, and honest about trouble."""

import asyncio
from functools import partial

import pytest
from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from tests.backends.database.conftest import Start, away, names, write

from omni_etl.backends.database.engine import Database, open_database
from omni_etl.backends.database.migrate import Part
from omni_etl.backends.database.tables import fleet_words
from omni_etl.clock import ManualClock
from omni_etl.errors import SettingsError, UnavailableError


@pytest.mark.parametrize("url", ["mysql://root:hush@db/omni", "postgres", "postgres://omni:hush@db/omni", ""])
@pytest.mark.parametrize(("part", "setting"), [("control", "OMNI_DATABASE_URL"), ("queue", "OMNI_QUEUE_URL")])
def test_an_unknown_scheme_is_refused(url: str, part: Part, setting: str) -> None:
    """With the setting's name and what to write instead; a password is not repeated."""
    with pytest.raises(SettingsError, match=setting) as caught:
        open_database(url, part, ManualClock())
    assert caught.value.fix == "Write sqlite:///PATH or postgresql://user:password@host:port/name."
    assert "hush" not in str(caught.value)


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
    control: Database, database_url: str, start: Start
) -> None:
    """Two processes share a database; neither is ever told that it is locked."""
    process = start(BULK_WRITER.format(url=database_url))
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
    database = open_database("{url}", "control", SystemClock())
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


async def test_an_outage_is_told_and_ends(control: Database) -> None:
    """Away, every call says so, with the place; back, everything is there and what was refused left nothing."""
    await write(control, "one")
    async with away(control):
        for call in (write(control, "lost"), names(control), write(control, "lost")):
            with pytest.raises(UnavailableError) as told:
                await call
            assert str(told.value).startswith(f"{control.place}: ")
    await write(control, "two")
    assert await names(control) == ["one", "two"]


async def test_a_transaction_in_one_go_is_whole_or_nothing(control: Database) -> None:
    """Durable when it is over; an error leaves nothing behind and is told as it is."""

    def work(connection: Connection, name: str) -> str:
        connection.execute(insert(fleet_words), {"name": name, "value": "x"})
        if name == "bad":
            raise LookupError(name)
        return name

    assert await control.write(partial(work, name="one")) == "one"
    with pytest.raises(LookupError):
        await control.write(partial(work, name="bad"))
    assert await control.read(lambda connection: connection.execute(select(fleet_words.c.name)).scalars().all()) == [
        "one"
    ]


async def test_reading_in_one_go_writes_nothing(control: Database) -> None:
    """Readers cannot, whatever they are given."""
    with pytest.raises((DBAPIError, UnavailableError)):
        await control.read(lambda connection: connection.execute(insert(fleet_words), {"name": "one", "value": "x"}))
    assert await names(control) == []


async def test_both_ways_of_writing_take_turns(control: Database) -> None:
    """Many of each at once: nobody meets a lock, and nothing is lost."""

    def work(connection: Connection, name: str) -> None:
        connection.execute(insert(fleet_words), {"name": name, "value": "x"})

    await asyncio.gather(
        *(write(control, f"a{number:02}") for number in range(20)),
        *(control.write(partial(work, name=f"b{number:02}")) for number in range(20)),
    )
    assert len(await names(control)) == 40


async def test_an_outage_is_told_in_one_go_too(control: Database) -> None:
    """Reading or writing."""
    async with away(control):
        for call in (control.write, control.read):
            with pytest.raises(UnavailableError) as told:
                await call(lambda connection: connection.execute(select(fleet_words)).all())
            assert str(told.value).startswith(f"{control.place}: ")


async def test_the_last_holder_closes(database_url: str, clock: ManualClock) -> None:
    """Contracts of one part share it; who closes first takes nothing from the others."""
    database = open_database(database_url, "control", clock)
    for holder in ("one", "two", "two"):
        await database.open(holder)
    await write(database, "one")
    await database.close("one")
    assert database.product.writer.pool.checkedin() == 1  # type: ignore[attr-defined] # of a queue pool
    await database.close("two")
    assert database.product.writer.pool.checkedin() == 0  # type: ignore[attr-defined] # of a queue pool
    await database.open("three")
    assert await names(database) == ["one"]
    await database.close("three")
