"""PostgreSQL's own side: what is refused at start, what is an outage, what a session promises."""

import asyncio
import signal
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import bindparam, insert, select, text
from sqlalchemy.exc import DBAPIError
from tests.backends.database.conftest import Start, names, opened, write
from tests.postgresql_server import PASSWORD, USER, PostgresqlServer, postgresql_server

from omni_etl.backends.database import postgresql as module
from omni_etl.backends.database.engine import Database, open_database
from omni_etl.backends.database.migrate import Part
from omni_etl.backends.database.postgresql import place_of
from omni_etl.backends.database.tables import fleet_words
from omni_etl.clock import ManualClock, SystemClock
from omni_etl.embedded.ports import free_ports
from omni_etl.errors import SettingsError, UnavailableError

PARTS: list[Part] = ["control", "outbox", "queue"]


@pytest.fixture
def database_url(postgresql_url: str) -> str:
    """An empty database on the shared server."""
    return postgresql_url


def name_of(url: str) -> str:
    """Of the database."""
    return url.rpartition("/")[2]


async def refused(url: str, part: Part = "control") -> SettingsError:
    """What opening says."""
    with pytest.raises(SettingsError) as caught:
        await open_database(url, part, ManualClock()).open("test")
    assert PASSWORD not in str(caught.value)
    assert quote(PASSWORD, safe="") not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


async def show(database: Database, name: str) -> str:
    """What holds on the connection that writes."""
    async with database.writing() as connection:
        return str((await connection.execute(text(f"SHOW {name}"))).scalar())


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://omni:hush",
        "postgresql://omni:hush/name",
        "postgresql://omni:hu@hush@host/name",
        "postgresql://omni:hu/hush@host/name",
        "postgresql://omni:hu?hush@host/name",
        "postgresql://omni:hu#hush@host/name",
        "postgresql://omni:hush@host",
        "postgresql://omni:hush@host/",
        "postgresql://omni:hush@host:port/name",
        "postgresql:omni:hush@host/name",
    ],
)
@pytest.mark.parametrize(("part", "setting"), [("control", "OMNI_DATABASE_URL"), ("queue", "OMNI_QUEUE_URL")])
def test_an_address_that_cannot_be_read_is_refused(url: str, part: Part, setting: str) -> None:
    """With the form it should have; nothing of it is shown, wherever its password stands."""
    with pytest.raises(SettingsError, match=setting) as caught:
        open_database(url, part, ManualClock())
    assert "postgresql://user:password@host:port/name" in caught.value.fix
    assert "hu" not in caught.value.found


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://omni:hush@db.example.com:5432/omni", "postgresql://db.example.com:5432/omni"),
        ("postgresql://omni:a%40b@one:1,two:2/omni?target_session_attrs=read-write", "postgresql://one:1,two:2/omni"),
        ("postgresql://[::1]:5432/omni", "postgresql://[::1]:5432/omni"),
        ("postgresql:///omni?host=/run/postgresql&password=hush", "postgresql:///omni"),
    ],
)
def test_a_place_is_shown_without_user_and_password(url: str, place: str) -> None:
    """Several hosts, a socket and libpq's options are fine."""
    assert place_of(url, "control") == place


async def test_rejected_credentials_are_refused(postgresql: PostgresqlServer, database_url: str) -> None:
    """A wrong password and an unknown user, with the server's word and without the password."""
    for user in (USER, "nobody"):
        error = await refused(postgresql.url(name_of(database_url), user=user, password=f"{PASSWORD}x"), "queue")
        assert error.setting == "OMNI_QUEUE_URL"
        assert f'password authentication failed for user "{user}"' in error.found


async def test_an_option_with_a_fault_is_refused(database_url: str) -> None:
    """Before any connection."""
    assert "sslmode" in (await refused(f"{database_url}?sslmode=perhaps")).found


@pytest.mark.parametrize(("right", "word"), [("CREATE", "permission denied for schema public"), ("USAGE", "no schema")])
async def test_a_user_without_rights_is_refused(
    postgresql: PostgresqlServer, database_url: str, right: str, word: str
) -> None:
    """It makes its own tables, so it must be allowed to."""
    postgresql.sql(f"REVOKE {right} ON SCHEMA public FROM PUBLIC", url=database_url)
    error = await refused(postgresql.url(name_of(database_url), user=postgresql.role("NOSUPERUSER")))
    assert word in error.found
    assert "rights" in error.fix


@pytest.mark.parametrize(("part", "setting"), [("control", "OMNI_DATABASE_URL"), ("queue", "OMNI_QUEUE_URL")])
async def test_a_newer_schema_is_refused(
    postgresql: PostgresqlServer, database_url: str, part: Part, setting: str, clock: ManualClock
) -> None:
    """With the setting, what was found and what to do; it is left as it is."""
    async with opened(open_database(database_url, part, clock)):
        postgresql.sql(f"UPDATE {part}_schema_version SET version_num = 'from_tomorrow'", url=database_url)
    error = await refused(database_url, part)
    assert (error.setting, "from_tomorrow" in error.found, "newer" in error.fix) == (setting, True, True)
    assert postgresql.sql(f"SELECT version_num FROM {part}_schema_version", url=database_url) == "from_tomorrow"


@pytest.mark.parametrize("level", ["off", "local", "remote_write"])
@pytest.mark.parametrize("where", ["session", "database", "role", "role in database"])
async def test_a_commit_that_is_not_on_the_disk_is_refused(
    postgresql: PostgresqlServer, database_url: str, level: str, where: str
) -> None:
    """Wherever the weaker level comes from, and whatever part it is."""
    name = name_of(database_url)
    role = postgresql.role("SUPERUSER")
    places = {
        "database": f"DATABASE {name}",
        "role": f"ROLE {role}",
        "role in database": f"ROLE {role} IN DATABASE {name}",
    }
    url = postgresql.url(name, user=role)
    if where == "session":
        url += f"?synchronous_commit={level}"
    else:
        postgresql.sql(f"ALTER {places[where]} SET synchronous_commit = {level}")
    for part in PARTS:
        error = await refused(url, part)
        assert f"synchronous_commit = {level}" in error.found
        assert "on the disk" in error.fix


@pytest.mark.parametrize("level", ["on", "remote_apply"])
async def test_a_level_that_is_strong_enough_is_kept(database_url: str, level: str, clock: ManualClock) -> None:
    """Stronger than on may be wanted."""
    async with opened(open_database(f"{database_url}?synchronous_commit={level}", "control", clock)) as database:
        assert await show(database, "synchronous_commit") == level


async def test_a_level_that_is_weakened_later_is_not_taken(
    postgresql: PostgresqlServer, database_url: str, control: Database
) -> None:
    """Open connections hold theirs, new ones are an outage until somebody puts it right; no process ends."""
    name = name_of(database_url)
    await write(control, "one")
    postgresql.sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
    assert await show(control, "synchronous_commit") == "on"
    await control.product.writer.dispose()
    with pytest.raises(UnavailableError, match="synchronous_commit = off"):
        await write(control, "two")
    postgresql.sql(f"ALTER DATABASE {name} RESET synchronous_commit")
    await write(control, "two")


async def test_a_server_that_is_weakened_by_a_reload_or_never_syncs(clock: ManualClock) -> None:
    """A reload changes the default of open sessions, but not ours; a server without fsync is refused like the rest."""
    with postgresql_server() as server:
        url = server.empty_database()
        async with opened(open_database(url, "control", clock)) as database:
            await write(database, "one")
            server.sql("ALTER SYSTEM SET synchronous_commit = off")
            server.sql("SELECT pg_reload_conf()")
            while server.sql("SHOW synchronous_commit") != "off":
                pass
            assert await show(database, "synchronous_commit") == "on"
        assert "synchronous_commit = off" in (await refused(url)).found
        server.sql("ALTER SYSTEM RESET synchronous_commit")
        server.stop()
        server.start("fsync=off")
        assert "fsync = off" in (await refused(url)).found


async def test_a_session_is_bounded_and_named(control: Database) -> None:
    """Nothing waits for ever, and an administrator sees whose it is."""
    assert await show(control, "statement_timeout") == "10s"
    assert await show(control, "lock_timeout") == "5s"
    assert await show(control, "idle_in_transaction_session_timeout") == "20s"
    assert await show(control, "application_name") == "omni-etl control"


async def test_writers_see_each_statement_what_is_committed(
    postgresql: PostgresqlServer, database_url: str, clock: ManualClock
) -> None:
    """Whatever this database's own default is."""
    postgresql.sql(f"ALTER DATABASE {name_of(database_url)} SET default_transaction_isolation = 'serializable'")
    async with opened(open_database(database_url, "control", clock)) as database:
        assert await show(database, "transaction_isolation") == "read committed"


async def test_readers_see_one_moment_and_cannot_write(control: Database) -> None:
    """As in SQLite."""
    async with control.reading() as connection:
        before = (await connection.execute(text("SELECT count(*) FROM fleet_words"))).scalar()
        await write(control, "one")
        assert (await connection.execute(text("SELECT count(*) FROM fleet_words"))).scalar() == before
    with pytest.raises(UnavailableError, match="read-only"):
        async with control.reading() as connection:
            await connection.execute(insert(fleet_words), {"name": "x", "value": "x"})


@pytest.mark.parametrize(
    "state",
    ["08006", "25006", "25P03", "28P01", "40001", "40P01", "42501", "53100", "53300", "55P03", "57014", "XX001"],
)
async def test_what_a_server_may_suffer_is_an_outage(control: Database, state: str) -> None:
    """Disk full, deadlock, serialization, shutdown, a standby: the same work may succeed later."""
    with pytest.raises(UnavailableError, match=f"{control.place}: suffering"):
        await suffer(control, state)
    await write(control, "one")
    assert await names(control) == ["one"]


@pytest.mark.parametrize("state", ["22003", "23505", "23514", "42601", "42703", "54000"])
async def test_a_fault_of_ours_is_not_called_an_outage(control: Database, state: str) -> None:
    """A circuit that opened for it would never close."""
    with pytest.raises(DBAPIError):
        await suffer(control, state)


async def suffer(database: Database, state: str) -> None:
    """Write, and be told this."""
    async with database.writing() as connection:
        await connection.execute(insert(fleet_words), {"name": "lost", "value": "x"})
        await connection.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'suffering' USING ERRCODE = '{state}'; END $$"))


async def test_a_demoted_primary_is_left(control: Database) -> None:
    """It keeps our connections, and only new ones lead to its successor."""
    async with control.writing() as connection:
        before = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar()
    with pytest.raises(UnavailableError):
        await suffer(control, "25006")
    async with control.writing() as connection:
        assert (await connection.execute(text("SELECT pg_backend_pid()"))).scalar() != before


async def test_nobody_there_is_an_outage(postgresql: PostgresqlServer, clock: ManualClock) -> None:
    """No server, no such host, no such database, no room for another connection: all of it may come."""
    [port] = free_ports(1)
    for url in (
        f"postgresql://127.0.0.1:{port}/omni",
        "postgresql://nowhere.invalid/omni",
        postgresql.url("not_yet"),
        postgresql.url(user=postgresql.role("CONNECTION LIMIT 0")),
    ):
        database = open_database(url, "control", clock)
        with pytest.raises(UnavailableError, match=database.place.replace("[", r"\[")):
            await database.open("test")


async def test_a_server_that_ended_our_sessions_is_left_once(control: Database, postgresql: PostgresqlServer) -> None:
    """A glance that meets a dead connection makes an end of the others, which are as dead: the next one is answered."""
    word = select(fleet_words.c.value).where(fleet_words.c.name == bindparam("name"))
    await write(control, "one")
    await asyncio.gather(*(control.glance(word, "one") for _ in range(5)))
    postgresql.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'omni-etl%'")
    with pytest.raises(UnavailableError):
        await control.glance(word, "one")
    for _ in range(10):
        assert len(await control.glance(word, "one")) == 1


async def test_a_statement_or_lock_that_takes_too_long_is_an_outage(
    database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server itself ends it, and the connection is good for the next."""
    monkeypatch.setattr(module, "STATEMENT_SECONDS_MAX", 0.3)
    monkeypatch.setattr(module, "LOCK_SECONDS_MAX", 0.1)
    async with opened(open_database(database_url, "control", clock)) as database:
        with pytest.raises(UnavailableError, match="statement timeout"):
            async with database.writing() as connection:
                await connection.execute(text("SELECT pg_sleep(10)"))
        async with database.writing() as connection:
            await connection.execute(text("LOCK TABLE fleet_words"))
            with pytest.raises(UnavailableError, match="lock timeout"):
                await write(database, "one")
        await write(database, "two")


async def test_a_server_that_hangs_is_an_outage(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes packets and answers nothing: every call ends by itself, and all goes on with it."""
    monkeypatch.setattr(module, "ANSWER_SECONDS_MAX", 0.3)
    monkeypatch.setattr(module, "CONNECT_SECONDS_MAX", 0.3)
    with postgresql_server() as server:
        url = server.empty_database()
        async with opened(open_database(url, "control", clock)) as database:
            await write(database, "one")
            server.signal(signal.SIGSTOP)
            for call in (write(database, "lost"), names(database), open_database(url, "queue", clock).open("test")):
                with pytest.raises(UnavailableError):
                    await asyncio.wait_for(call, 10)
            server.signal(signal.SIGCONT)
            await write(database, "two")
            assert [name for name in await names(database) if name != "lost"] == ["one", "two"]


async def test_a_transaction_is_given_up_in_the_end(
    database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when every single step answers."""
    monkeypatch.setattr(module.Postgresql, "transaction_seconds_max", 0.2)
    async with opened(open_database(database_url, "control", clock)) as database:

        async def go_on_for_ever() -> None:
            async with database.writing() as connection:
                while True:
                    await connection.execute(text("SELECT pg_sleep(0.01)"))

        with pytest.raises(UnavailableError, match="no answer in time"):
            await go_on_for_ever()
        assert await names(database) == []


async def test_an_empty_database_in_our_place_is_an_outage(postgresql: PostgresqlServer, control: Database) -> None:
    """Its missing tables are not taken for a fault of ours."""
    async with control.writing() as connection:
        await connection.execute(text("DROP TABLE fleet_words"))
    with pytest.raises(UnavailableError, match="fleet_words"):
        await write(control, "one")


async def test_three_parts_share_one_database(postgresql: PostgresqlServer, database_url: str) -> None:
    """Each with a history of its own, opened by many at once in one process and in several."""
    opening = [open_database(database_url, part, SystemClock()) for part in PARTS for _ in range(3)]
    await asyncio.gather(*(each.open("test") for each in opening))
    for each in opening:
        await each.close("test")
    tables = postgresql.sql(
        "SELECT relname FROM pg_class WHERE relname LIKE '%schema_version' ORDER BY 1", url=database_url
    )
    assert tables.splitlines() == [f"{part}_schema_version" for part in PARTS]


def test_two_processes_may_start_at_once(postgresql: PostgresqlServer, start: Start) -> None:
    """Both find the schema whole, one of them made it; some times, since it is a race."""
    urls = [postgresql.empty_database() for _ in range(5)]
    processes = [start(RACER.format(urls=urls)) for _ in range(2)]
    for _ in urls:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
    assert [process.wait(60) for process in processes] == [0, 0]
    versions = {postgresql.sql("SELECT version_num FROM queue_schema_version", url=url) for url in urls}
    assert versions == {"queue_0002"}


RACER = """
import asyncio
from omni_etl.backends.database.postgresql import Postgresql
for url in {urls}:
    print("ready", flush=True)
    input()
    asyncio.run(Postgresql(url, "queue").migrate())
"""


async def test_no_index_hangs_on_an_alphabet(
    postgresql: PostgresqlServer, database_url: str, control: Database, outbox_part: Database, queue_part: Database
) -> None:
    """An upgrade of the operating system that sorts otherwise would break it."""
    columns = """SELECT attrelid::regclass, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        JOIN pg_collation ON pg_collation.oid = attcollation
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND collname <> 'C'"""
    found = postgresql.sql(columns, url=database_url).splitlines()
    assert {each.partition("|")[2] for each in found} <= {"version_num"}  # alembic's own


def test_tests_have_no_server_of_somebody_else(postgresql: PostgresqlServer) -> None:
    """It runs on a directory of its own and syncs, as in earnest."""
    assert Path(postgresql.sql("SHOW data_directory")).parent == postgresql.directory
    assert postgresql.sql("SHOW fsync") == "on"
