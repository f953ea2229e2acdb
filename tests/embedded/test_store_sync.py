"""embedded.store_sync: what can be read is durable, or not answered yet."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from omni_etl.embedded.store_engine import Engine
from omni_etl.embedded.store_statement import Statement
from omni_etl.embedded.store_sync import DirectorySync


class Disk:
    """Notes which directories were synced; holds the first sync of `held_path` until told to go on."""

    def __init__(self) -> None:
        self.synced: list[str] = []
        self.held_path = ""
        self.is_held = threading.Event()
        self.go_on = threading.Event()

    def fsync(self, descriptor: int) -> None:
        """As the system's."""
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        if path == self.held_path:
            self.held_path = ""
            self.is_held.set()
            self.go_on.wait()
        self.synced.append(path)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Seen by our syncs alone, not by the engine's."""
    made = Disk()
    monkeypatch.setattr(os, "fsync", made.fsync)
    yield made
    made.go_on.set()


@pytest.fixture
def engine(tmp_path: Path, disk: Disk) -> Iterator[Engine]:
    """Two workers and a table."""
    made = Engine(tmp_path / "store", threads=2)
    made.open()
    made.submit(Statement("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")).result()
    yield made
    disk.go_on.set()
    made.close()


def ask(engine: Engine, sql: str) -> str:
    """Run it as the host does, in a worker."""
    return engine.submit(Statement(sql)).result().body.decode().strip()


def path_of(engine: Engine) -> str:
    """The directory of the table."""
    return ask(engine, "SELECT data_paths[1] FROM system.tables WHERE name = 't'").rstrip("/")


def test_a_reader_syncs_what_an_insert_has_not_synced_yet(engine: Engine, disk: Disk) -> None:
    """Renamed, but its name is not on the disk: who sees the row makes it durable before the answer, and nothing else."""
    path = disk.held_path = path_of(engine)
    inserting = engine.submit(Statement("INSERT INTO t VALUES (1)"))
    disk.is_held.wait()
    disk.synced.clear()
    assert ask(engine, "SELECT count() FROM t") == "1"
    assert disk.synced == [path]
    disk.go_on.set()
    inserting.result()
    assert disk.synced == [path, path]
    assert ask(engine, "SELECT count() FROM t") == "1"
    assert disk.synced == [path, path]


def test_a_new_table_is_synced_with_all_that_names_it(engine: Engine, disk: Disk) -> None:
    """The engine syncs its description, but not the directories."""
    disk.synced.clear()
    ask(engine, "CREATE TABLE u (a UInt8) ENGINE = MergeTree ORDER BY a")
    root = engine.directory
    wanted = {root, *root.glob("metadata/*"), *root.glob("store/*"), *root.glob("store/*/*")}
    assert {str(each.resolve()) for each in wanted if each.is_dir()} <= set(disk.synced)


def test_an_insert_that_failed_is_synced_too(tmp_path: Path, disk: Disk) -> None:
    """An error may come after the part was made; the redo finds it."""
    sync = DirectorySync(tmp_path)
    with pytest.raises(KeyError), sync.inserting([str(tmp_path)]):
        raise KeyError
    assert disk.synced == [str(tmp_path)]
    sync.sync_what_inserts_left()
    assert disk.synced == [str(tmp_path)]


def test_a_table_that_is_gone_needs_no_sync(tmp_path: Path, disk: Disk) -> None:
    """Dropped while an insert ran."""
    with DirectorySync(tmp_path).inserting([str(tmp_path / "gone")]):
        pass
    assert disk.synced == []
