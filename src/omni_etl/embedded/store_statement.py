"""What a request of ClickHouse's HTTP interface asks for: SQL, settings, parameters, and the rows of an insert.

The SQL is the `query` parameter followed by the body. Of an insert with FORMAT, what follows the format's name are rows:
they go to a file in memory, from which the engine inserts (`FROM INFILE`), because chDB takes rows in no other way.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa

_NAME: Final = r"(?:`[^`]+`|\"[^\"]+\"|\w+)"
_START: Final = r"(?:\s|--[^\n]*(?:\n|\Z)|(?>/\*.*?\*/))*+"  # spaces and comments; tried in one way, not in all
_INSERT: Final = (
    rf"{_START}INSERT\s+INTO\s+(?:TABLE\s+)?(?!FUNCTION\s)(?:(?P<database>{_NAME})\s*\.\s*)?(?P<table>{_NAME})"
)
_ROWS: Final = (
    rf"{_INSERT}\s*(?:\([^()]*\)\s*)?(?P<tail>(?:SETTINGS\s.*?)?\bFORMAT\s+\w+)(?P<gap>[ \t]*\r?\n|[ \t]+|\Z)"
)
_FLAGS: Final = re.IGNORECASE | re.DOTALL

INSERT: Final = re.compile(_INSERT, _FLAGS)
READING: Final = re.compile(rf"{_START}\(*(?:SELECT|WITH|SHOW|DESC|DESCRIBE|EXPLAIN|EXISTS|CHECK)\b", _FLAGS)
INSERT_WITH_ROWS: Final = re.compile(_ROWS, _FLAGS)
FORMAT: Final = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*\Z", re.IGNORECASE)
INSERT_BYTES_MAX: Final = 64 * 1024  # in which the statement before its rows must end

# Parameters that speak of the connection or of HTTP; all others are settings of the engine.
NO_SETTINGS: Final = frozenset(
    {
        "query", "database", "user", "password", "default_format", "query_id", "quota_key", "role", "stacktrace",
        "session_id", "session_check", "session_timeout", "close_session", "client_protocol_version",
        "compress", "decompress", "buffer_size", "wait_end_of_query", "enable_http_compression",
        "send_progress_in_http_headers", "http_headers_progress_interval_ms", "omni_absent",
    }
)  # fmt: skip

# HTTP's name of an encoding → ClickHouse's and Arrow's names.
ENCODINGS: Final = {"": ("none", ""), "identity": ("none", ""), "lz4": ("lz4", "lz4"), "zstd": ("zstd", "zstd"),
                    "gzip": ("gzip", "gzip"), "br": ("br", "brotli")}  # fmt: skip


class RowsFile:
    """Rows in memory under a name that the engine can open; gone with the process, so a kill leaves nothing behind."""

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self._descriptor = os.memfd_create("rows")  # of no file system: no small /dev/shm can be full
        else:
            self._descriptor, path = tempfile.mkstemp()
            Path(path).unlink()

    @property
    def path(self) -> str:
        """Where the engine finds it; only in this process."""
        return f"/dev/fd/{self._descriptor}"

    def write(self, chunk: bytes) -> None:
        """Append."""
        os.writev(self._descriptor, [chunk])

    def close(self) -> None:
        """Give the memory back."""
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as the engine runs it."""

    sql: str
    database: str = "default"
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    default_format: str = "TabSeparated"
    rows: RowsFile | None = None
    absent: tuple[str, ...] = ()  # envelopes of which none may stand in the table: our own, no server knows it

    @property
    def format(self) -> str:
        """The format of its answer."""
        named = FORMAT.search(self.sql)
        return named[1] if named else self.default_format


def statement(asked: Mapping[str, str], sql: str, rows: RowsFile | None = None, encoding: str = "") -> Statement:
    """Read the parameters of a request; with `rows`, `sql` is an insert that ends in their format.

    `asked` are the parameters of the URL or form: `param_x` are values of `{x:Type}`, unknown names are settings.
    """
    if rows is not None:
        found = INSERT_WITH_ROWS.match(sql)
        assert found is not None, "asked for by `takes_rows`"
        head, tail = sql[: found.start("tail")], found["tail"]
        sql = f"{head} FROM INFILE '{rows.path}' COMPRESSION '{ENCODINGS[encoding][0]}' {tail}"
    return Statement(
        sql=sql,
        database=asked.get("database") or "default",
        settings={name: value for name, value in asked.items() if name not in NO_SETTINGS and name[:6] != "param_"},
        parameters={name[6:]: value for name, value in asked.items() if name[:6] == "param_"},
        default_format=asked.get("default_format") or "TabSeparated",
        rows=rows,
        absent=tuple(filter(None, asked.get("omni_absent", "").split(","))),
    )


def takes_rows(sql: str) -> bool:
    """Whether this is an insert that ends in a format, so that all that follows are rows."""
    found = INSERT_WITH_ROWS.match(sql)
    return found is not None and not sql[found.end() :].strip()


def split_rows(body: bytes) -> tuple[str, bytes] | None:
    """An insert and its rows where a body holds both, else None."""
    found = INSERT_WITH_ROWS.match(body[:INSERT_BYTES_MAX].decode("latin-1"))  # one character a byte
    if found is None:
        return None
    return body[: found.end()].decode(), body[found.end() :]


def uncompressed(body: bytes, encoding: str, *, bytes_max: int) -> bytes | None:
    """The body as it was before its encoding, or None where it is longer than allowed.

    Raises:
        OSError: the bytes are no such thing.

    """
    codec = ENCODINGS[encoding][1]
    if not codec:
        return body
    with pa.CompressedInputStream(pa.BufferReader(body), codec) as stream:
        plain: bytes = stream.read(bytes_max + 1)
    return plain if len(plain) <= bytes_max else None
