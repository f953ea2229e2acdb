"""cli.source: events out of files."""

import gzip
import io
import sys
from pathlib import Path

import orjson
import pytest
import zstandard
from tests.hose.hoses import event

from omni_etl.cli import source
from omni_etl.cli.source import Chunk, SourceError, chunks, size_bytes

LINES = [event(number) for number in range(2_500)]
NDJSON = b"\n".join(LINES)


def _read(path: Path) -> list[Chunk]:
    return list(chunks(str(path)))


def _lines(found: list[Chunk]) -> list[bytes]:
    return [line for chunk in found for line in chunk.lines]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.ndjson", NDJSON),
        ("a.json", NDJSON + b"\n"),
        ("a.txt", NDJSON.replace(b"\n", b"\r\n")),
        ("a.json.gz", gzip.compress(NDJSON[:5_000], mtime=0) + gzip.compress(NDJSON[5_000:], mtime=0)),
        ("a.json.zst", zstandard.compress(NDJSON[:5_000]) + zstandard.compress(NDJSON[5_000:])),
        ("a.json", b"[" + b",".join(LINES) + b"]"),
        ("a.json", b" [\n" + b",\n".join(LINES) + b"\n]\n"),
    ],
    ids=range(7),
)
def test_a_file_in_any_form_is_its_events(tmp_path: Path, name: str, content: bytes) -> None:
    """In requests of at most 1,000, with the number of each."""
    path = tmp_path / name
    path.write_bytes(content)
    found = _read(path)
    assert _lines(found) == LINES
    assert [len(chunk.lines) for chunk in found] == [1_000, 1_000, 500]
    assert [number for chunk in found for number in chunk.numbers] == list(range(1, 2_501))
    assert found[-1].read_bytes == path.stat().st_size == size_bytes([str(path)])


@pytest.mark.parametrize("form", [0, orjson.OPT_INDENT_2])
def test_one_object_may_be_the_whole_file(tmp_path: Path, form: int) -> None:
    """On one line or on several."""
    (tmp_path / "a").write_bytes(orjson.dumps(orjson.loads(LINES[0]), option=form))
    [line] = _lines(_read(tmp_path / "a"))
    assert b"\n" not in line
    assert orjson.loads(line) == orjson.loads(LINES[0])


def test_blank_lines_count_but_are_not_sent(tmp_path: Path) -> None:
    """An editor shows the same numbers."""
    (tmp_path / "a").write_bytes(b"\n" + LINES[0] + b"\n \n" + LINES[1])
    [chunk] = _read(tmp_path / "a")
    assert chunk.numbers == [2, 4]


def test_a_long_line_is_cut_and_the_next_one_whole(tmp_path: Path) -> None:
    """The hose refuses it by its length; memory never holds it."""
    (tmp_path / "a").write_bytes(LINES[0] + b"\n" + b"x" * 10_000_000 + b"\n" + LINES[1])
    found = _lines(_read(tmp_path / "a"))
    assert [len(line) for line in found] == [len(LINES[0]), source.LINE_BYTES_MAX, len(LINES[1])]


def test_requests_are_bounded_in_bytes_too(tmp_path: Path) -> None:
    """A thousand long events would be too much for one."""
    (tmp_path / "a").write_bytes(b"\n".join(event(number, pad="x" * 100_000) for number in range(100)))
    assert max(sum(map(len, chunk.lines)) for chunk in _read(tmp_path / "a")) <= source.BYTES_AT_ONCE_MAX


def test_standard_input_is_read_as_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a size nobody knows."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(NDJSON)))
    assert _lines(list(chunks("-"))) == LINES
    assert size_bytes(["-"]) is None


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.json", b"[{]", "not a JSON array"),
        ("a.gz", gzip.compress(NDJSON, mtime=0)[:-9], "ended before"),
        ("a.gz", b"rubbish", "gzipped"),
        ("a.zst", zstandard.compress(NDJSON)[:-9], "too early"),
        ("a.zst", b"rubbish", "zstd"),
    ],
)
def test_what_cannot_be_read_on_is_said(tmp_path: Path, name: str, content: bytes, word: str) -> None:
    """With the name of the file."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=f"{name}.*{word}"):
        _read(tmp_path / name)


def test_an_array_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must be in memory as a whole."""
    monkeypatch.setattr(source, "HEAD_BYTES", 1_000)
    monkeypatch.setattr(source, "ARRAY_BYTES_MAX", 5_000)
    (tmp_path / "a").write_bytes(b"[" + b",".join(LINES) + b"]")
    with pytest.raises(SourceError, match="one event a line"):
        _read(tmp_path / "a")


def test_a_missing_file_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    """Whoever mistypes the second name has not sent the first."""
    with pytest.raises(SourceError, match="missing: No such file"):
        size_bytes([__file__, str(tmp_path / "missing")])
