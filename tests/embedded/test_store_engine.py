"""embedded.store_engine: statements leave nothing behind for each other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from omni_etl.embedded.store_engine import STANDS_ALREADY, Engine, StatementError
from omni_etl.embedded.store_statement import Statement
from omni_etl.errors import SettingsError


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """One worker of each kind, so that statements meet on one connection."""
    made = Engine(tmp_path / "store", threads=1)
    made.open()
    yield made
    made.close()


def ask(engine: Engine, sql: str, **fields: object) -> str:
    """Run it as the host does, in a worker."""
    statement = Statement(sql, **fields)  # type: ignore[arg-type]  # by name
    return engine.submit(statement).result().body.decode().strip()


def test_a_setting_lasts_one_statement(engine: Engine) -> None:
    """Whether it succeeds or fails."""
    before = ask(engine, "SELECT getSetting('max_block_size')")
    assert ask(engine, "SELECT getSetting('max_block_size')", settings={"max_block_size": "7"}) == "7"
    with pytest.raises(StatementError):
        ask(engine, "SELECT nope", settings={"max_block_size": "8"})
    assert ask(engine, "SELECT getSetting('max_block_size')") == before


@pytest.mark.parametrize(
    "settings", [{"max_threads": "1", "no_such_setting": "1"}, {"max_threads": "x"}, {"a'b`c": "1"}]
)
def test_a_wrong_setting_is_refused_and_forgotten(engine: Engine, settings: dict[str, str]) -> None:
    """Names and values are quoted, so they can be nothing else."""
    before = ask(engine, "SELECT getSetting('max_threads')")
    with pytest.raises(StatementError):
        ask(engine, "SELECT 1", settings=settings)
    assert ask(engine, "SELECT getSetting('max_threads')") == before


def test_a_database_lasts_one_statement(engine: Engine) -> None:
    """Each request names its own, or none."""
    ask(engine, "CREATE DATABASE other")
    assert ask(engine, "SELECT currentDatabase()", database="other") == "other"
    assert ask(engine, "SELECT currentDatabase()") == "default"
    with pytest.raises(StatementError) as refused:
        ask(engine, "SELECT 1", database="absent")
    assert refused.value.code == 81


def test_a_value_is_no_statement(engine: Engine) -> None:
    """Parameters are bound by the engine."""
    assert ask(engine, "SELECT {x:String}", parameters={"x": "'; DROP TABLE t"}) == "\\'; DROP TABLE t"


def test_what_was_written_is_there_after_a_new_start(tmp_path: Path) -> None:
    """Closed cleanly, opened again; the lock goes with the close."""
    for _ in range(2):
        engine = Engine(tmp_path / "store", threads=2)
        engine.open()
        ask(engine, "CREATE TABLE IF NOT EXISTS t (a UInt8) ENGINE = MergeTree ORDER BY a")
        ask(engine, "INSERT INTO t VALUES (1)")
        count = ask(engine, "SELECT count() FROM t")
        engine.close()
    assert count == "2"


def test_a_table_made_anew_is_synced_where_it_is(engine: Engine) -> None:
    """Paths are remembered; a table of the same name may have moved."""
    for _ in range(2):
        ask(engine, "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
        ask(engine, "INSERT INTO t VALUES (1)")
        paths = engine._table_paths["default", "t"]
        assert paths == [ask(engine, "SELECT data_paths[1] FROM system.tables WHERE name = 't'")]
        ask(engine, "DROP TABLE t")


def test_a_held_directory_is_refused(engine: Engine) -> None:
    """One process, one engine."""
    with pytest.raises(SettingsError, match="held by a running store"):
        Engine(engine.directory, threads=1).open()


def test_an_insert_where_absent_is_refused_as_a_whole(engine: Engine) -> None:
    """By the marker of one of its keys; it leaves no setting behind, and needs a table that has markers."""
    ask(
        engine,
        "CREATE TABLE t (marker_key String, checksum String, row_count UInt32) ENGINE = MergeTree ORDER BY marker_key",
    )
    rows = "INSERT INTO t SELECT arrayJoin(['a', 'b']), 'c', 1"
    ask(engine, rows, absent=("a", "b"))
    with pytest.raises(StatementError) as refused:
        ask(engine, "INSERT INTO t SELECT 'x', 'c', 1", absent=("x", "b"))
    assert refused.value.code == STANDS_ALREADY
    assert ask(engine, "SELECT count() FROM t") == "2"
    assert ask(engine, "SELECT getSetting('deduplicate_insert')") == "enable"


def test_a_reader_does_not_wait_for_an_insert(engine: Engine) -> None:
    """However long that takes, and with one worker each: here it waits for another of its envelope."""
    ask(
        engine,
        "CREATE TABLE t (marker_key String, checksum String, row_count UInt32) ENGINE = MergeTree ORDER BY marker_key",
    )
    with engine._claims.holding("default.t", ["a"]):
        inserting = engine.submit(Statement("INSERT INTO t SELECT 'a', 'c', 1", absent=("a",)))
        reading = engine.submit(Statement("SELECT count() FROM t"))
        assert reading.result(timeout=10).body == b"0\n"
        assert not inserting.done()
    inserting.result(timeout=10)


def test_an_insert_without_its_markers_is_no_success(engine: Engine) -> None:
    """Only what was read back counts: here rows that do not hold the keys they were announced with."""
    ask(
        engine,
        "CREATE TABLE t (marker_key String, checksum String, row_count UInt32) ENGINE = MergeTree ORDER BY marker_key",
    )
    with pytest.raises(StatementError, match="not found"):
        ask(engine, "INSERT INTO t SELECT 'a', 'c', 1", absent=("a", "b"))
