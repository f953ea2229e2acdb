"""An empty database of each kind, and processes beside this one."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from omni_etl.backends.database.engine import Database, open_database
from omni_etl.backends.database.migrate import SCRIPTS, Part, version_table
from omni_etl.backends.database.postgresql import Postgresql
from omni_etl.backends.database.sqlite import Sqlite, writer
from omni_etl.backends.database.tables import fleet_words
from omni_etl.clock import ManualClock

Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty database is; for the queue see `queue_url`."""
    return f"sqlite:///{tmp_path}" if request.param == "sqlite" else str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def queue_url(database_url: str) -> str:
    """In SQLite the queue is a file."""
    return f"{database_url}/queue.sqlite" if database_url.startswith("sqlite:") else database_url


@pytest.fixture
async def control(database_url: str, clock: ManualClock) -> AsyncIterator[Database]:
    """The control part, open."""
    async with opened(open_database(database_url, "control", clock)) as database:
        yield database


@pytest.fixture
async def outbox_part(database_url: str, clock: ManualClock) -> AsyncIterator[Database]:
    """The outbox part, open."""
    async with opened(open_database(database_url, "outbox", clock)) as database:
        yield database


@pytest.fixture
async def queue_part(queue_url: str, clock: ManualClock) -> AsyncIterator[Database]:
    """The queue part, open."""
    async with opened(open_database(queue_url, "queue", clock)) as database:
        yield database


@asynccontextmanager
async def opened(database: Database) -> AsyncIterator[Database]:
    """Open for a while."""
    await database.open("test")
    try:
        yield database
    finally:
        await database.close("test")


@asynccontextmanager
async def older(url: str, part: Part, revision: str) -> AsyncIterator[AsyncConnection]:
    """A transaction in an empty part as an older program made it, to be filled; durable behind this block."""

    def migrate(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(SCRIPTS))
        config.set_main_option("version_locations", str(SCRIPTS / part))
        config.set_main_option("path_separator", "newline")
        config.attributes.update(connection=connection, version_table=version_table(part))
        command.upgrade(config, revision)

    if url.startswith("sqlite:"):
        path = Path(url.removeprefix("sqlite:///")) / f"{part}.sqlite"
        path.touch()
        engine = writer(path)
    else:
        engine = Postgresql(url, part).writer
    async with engine.begin() as connection:
        await connection.run_sync(migrate)
        yield connection
    await engine.dispose()


@asynccontextmanager
async def away(database: Database) -> AsyncIterator[None]:
    """Gone for a while: a file's directory elsewhere, a server's database taking no connections."""
    if isinstance(database.product, Sqlite):
        directory = Path(database.place).parent
        moved = directory.with_name(directory.name + "-moved")
        directory.rename(moved)
        yield
        moved.rename(directory)
        return
    name = database.place.rpartition("/")[2]
    connection = await asyncpg.connect(database.product._url.rpartition("/")[0] + "/postgres")  # type: ignore[attr-defined]  # PostgreSQL's
    await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    yield
    await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await connection.close()


@pytest.fixture
def start() -> Iterator[Start]:
    """Run a script in a process of its own; what still runs at the end of the test is killed."""
    running: list[subprocess.Popen[str]] = []

    def run(script: str) -> "subprocess.Popen[str]":
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, env=environment
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


async def write(database: Database, name: str) -> None:
    """One row in one transaction."""
    async with database.writing() as connection:
        await connection.execute(insert(fleet_words), {"name": name, "value": "x"})


async def names(database: Database) -> list[str]:
    """The rows."""
    async with database.reading() as connection:
        return list((await connection.execute(select(fleet_words.c.name).order_by(fleet_words.c.name))).scalars())


async def until_blocked(database: Database, count: int = 1) -> None:
    """In PostgreSQL: until so many wait for a row. In SQLite they wait for their turn, and there is nothing to see."""
    if isinstance(database.product, Sqlite):
        return
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while True:
        async with database.reading() as connection:
            if (await connection.execute(waiting)).scalar() == count:
                return
