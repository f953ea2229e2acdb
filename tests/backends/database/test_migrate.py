"""Migrations: once, whole, safe in two processes at once, and never backwards."""

import fcntl
import logging
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from tests.backends.database.conftest import Start

from omni_etl.backends.database import migrate, sqlite
from omni_etl.errors import SettingsError

PARTS: list[migrate.Part] = ["control", "outbox", "queue"]


def applied(path: Path, part: migrate.Part) -> list[tuple[str]]:
    """What alembic noted."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT version_num FROM {migrate.version_table(part)}").fetchall()


@pytest.mark.parametrize("part", PARTS)
def test_migrating_twice_is_migrating_once(tmp_path: Path, part: migrate.Part) -> None:
    """A second start finds all of it done and keeps what is there."""
    path = tmp_path / "new" / "file.sqlite"
    sqlite.migrate_file(path, part)
    first = applied(path, part)
    sqlite.migrate_file(path, part)
    assert applied(path, part) == first
    assert len(first) == 1


def test_two_processes_may_start_at_once(tmp_path: Path, start: Start) -> None:
    """Both find the schema whole, one of them made it; ten times, since it is a race."""
    paths = [tmp_path / str(attempt) / "queue.sqlite" for attempt in range(10)]
    processes = [start(RACER.format(paths=[str(path) for path in paths])) for _ in range(2)]
    for _ in paths:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
    assert [process.wait(60) for process in processes] == [0, 0]
    assert {applied(path, "queue")[0] for path in paths} == {("queue_0002",)}


RACER = """
import pathlib
from omni_etl.backends.database import sqlite
for path in {paths}:
    print("ready", flush=True)
    input()
    sqlite.migrate_file(pathlib.Path(path), "queue")
"""


def test_one_at_a_time_migrates(tmp_path: Path) -> None:
    """The second waits for the first's flock, which a dead process cannot keep."""
    path = tmp_path / "queue.sqlite"
    migrated = threading.Event()

    def run() -> None:
        sqlite.migrate_file(path, "queue")
        migrated.set()

    with (tmp_path / "queue.sqlite.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=run)
        thread.start()
        assert not migrated.wait(0.2)
        assert not path.exists()
    thread.join(10)
    assert migrated.is_set()


@pytest.mark.parametrize(("part", "setting"), [("control", "OMNI_DATABASE_URL"), ("queue", "OMNI_QUEUE_URL")])
def test_a_newer_schema_is_refused(tmp_path: Path, part: migrate.Part, setting: str) -> None:
    """With the setting, what was found and what to do; the file is left as it is."""
    path = tmp_path / "file.sqlite"
    sqlite.migrate_file(path, part)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE {migrate.version_table(part)} SET version_num = 'from_tomorrow'")
        connection.commit()
    with pytest.raises(SettingsError, match=setting) as caught:
        sqlite.migrate_file(path, part)
    assert "from_tomorrow" in caught.value.found
    assert str(path) in caught.value.found
    assert "newer" in caught.value.fix
    assert applied(path, part) == [("from_tomorrow",)]


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a schema would be taken for a whole one by nobody, but it would stop every later try."""
    scripts = tmp_path / "migrations"
    (scripts / "queue").mkdir(parents=True)
    (scripts / "env.py").write_text((migrate.SCRIPTS / "env.py").read_text())
    (scripts / "queue" / "0001.py").write_text(BROKEN)
    monkeypatch.setattr(migrate, "SCRIPTS", scripts)
    path = tmp_path / "queue.sqlite"
    with pytest.raises(RuntimeError, match="half way"):
        sqlite.migrate_file(path, "queue")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []


BROKEN = """
import sqlalchemy as sa
from alembic import op
revision = "1"
down_revision = None
def upgrade():
    op.create_table("half", sa.Column("id", sa.Integer))
    raise RuntimeError("half way")
"""


def test_parts_may_share_one_database() -> None:
    """As they will in PostgreSQL: neither tables nor version tables collide."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        for part in PARTS:
            migrate.migrate(connection, part, place="memory")
        assert [len(migrate.revisions(connection, part)) for part in PARTS] == [1, 1, 1]
    engine.dispose()


def test_migrating_leaves_the_logs_alone(tmp_path: Path) -> None:
    """Alembic's templates reconfigure the root logger; ours does not."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level, root.disabled)
    sqlite.migrate_file(tmp_path / "file.sqlite", "control")
    assert (list(root.handlers), root.level, root.disabled) == before
