"""embedded.store_statement: what a request asks for, read from URL and body."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard

from omni_etl.embedded.store_statement import INSERT, READING, RowsFile, split_rows, statement, takes_rows, uncompressed


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("INSERT INTO t FORMAT JSONEachRow", True),
        ("insert into db.t (a, `b c`) format ArrowStream", True),
        ('-- why\nINSERT INTO `d b`."t" (a) SETTINGS async_insert=0 FORMAT CSV\n', True),
        ("INSERT INTO TABLE t FORMAT CSV 1,2", False),
        ("INSERT INTO t VALUES ('a FORMAT b')", False),
        ("INSERT INTO t SELECT 1", False),
        ("INSERT INTO FUNCTION file('x') SELECT 1", False),
        ("SELECT 1 FORMAT CSV", False),
        ("", False),
    ],
)
def test_an_insert_that_ends_in_a_format_takes_rows(sql: str, expected: bool) -> None:  # noqa: FBT001 one of two answers
    """Only then is the whole body rows."""
    assert takes_rows(sql) is expected


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b'INSERT INTO t FORMAT JSONEachRow\n{"a":1}\n', b'{"a":1}\n'),
        (b'INSERT INTO t FORMAT JSONEachRow {"a":1}', b'{"a":1}'),
        (b"INSERT INTO t (a) FORMAT Native\r\n\x00\xff\n", b"\x00\xff\n"),
        (b"INSERT INTO t (a) FORMAT Native\n", b""),
    ],
)
def test_rows_are_split_from_the_statement_before_them(body: bytes, rows: bytes) -> None:
    """Clients put both into one body; the rows may be no text at all."""
    found = split_rows(body)
    assert found is not None
    assert found[1] == rows
    assert takes_rows(found[0])


def test_a_body_without_rows_is_not_split() -> None:
    """Values inside the statement stay there."""
    assert split_rows(b"INSERT INTO t VALUES (1, ' FORMAT x ')") is None
    assert split_rows(b"SELECT 1 FORMAT JSON") is None


def test_an_insert_reads_its_rows_from_a_file() -> None:
    """Its settings and format stay at the end, where the grammar has them."""
    rows = RowsFile()
    found = statement({}, "INSERT INTO t (a) SETTINGS async_insert=0 FORMAT CSV", rows, "gzip")
    assert found.sql == (
        f"INSERT INTO t (a)  FROM INFILE '{rows.path}' COMPRESSION 'gzip' SETTINGS async_insert=0 FORMAT CSV"
    )
    rows.close()


def test_parameters_are_told_from_settings() -> None:
    """`param_x` are values, what speaks of HTTP is for nobody, all others go to the engine to judge."""
    asked = {
        "query": "x",
        "database": "d",
        "param_a": "1",
        "max_threads": "2",
        "wait_end_of_query": "1",
        "no_such": "3",
    }
    found = statement(asked, "SELECT {a:UInt8}")
    assert (found.database, found.parameters) == ("d", {"a": "1"})
    assert found.settings == {"max_threads": "2", "no_such": "3"}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [("SELECT 1", "TabSeparated"), ("SELECT 1 FORMAT JSON", "JSON"), ("SELECT 1\nformat CSV ;\n", "CSV")],
)
def test_the_format_of_an_answer_is_the_statement_s_or_the_default(sql: str, expected: str) -> None:
    """It is said in a header, too."""
    assert statement({}, sql).format == expected


def test_what_reads_and_what_inserts_is_known() -> None:
    """Comments and brackets in front do not hide it."""
    assert READING.match("/* a */ -- b\n (SELECT 1)")
    assert not READING.match("SELECTED")
    assert not READING.match("DROP TABLE t -- SELECT")
    found = INSERT.match("-- x\nINSERT INTO db . `t` SELECT 1")
    assert found is not None
    assert (found["database"], found["table"]) == ("db", "`t`")


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("", bytes),
        ("gzip", gzip.compress),
        ("zstd", zstandard.compress),
        ("lz4", lambda body: pa.compress(body, codec="lz4", asbytes=True)),
    ],
)
def test_a_compressed_body_is_read_up_to_a_limit(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    """A bomb ends at the limit, in bytes before compression."""
    body = compress(b"a" * 100_000)
    assert uncompressed(body, encoding, bytes_max=100_000) == b"a" * 100_000
    if encoding:
        assert uncompressed(body, encoding, bytes_max=99_999) is None
        with pytest.raises(OSError, match=r"\w"):
            uncompressed(b"no such thing", encoding, bytes_max=100)


def test_rows_are_in_memory_under_a_name() -> None:
    """The engine opens them by name; nothing of them is on a disk."""
    rows = RowsFile()
    rows.write(b"ab")
    rows.write(b"c")
    assert Path(rows.path).read_bytes() == b"abc"
    rows.close()


def test_comments_are_read_once() -> None:
    """Tried in every way, forty of them would take until the machine is scrap."""
    assert READING.match("/**/" * 40 + "x") is None
    assert READING.match("/* a */-- b\n /**/ SELECT 1") is not None
