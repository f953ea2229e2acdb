"""Source: events out of files and standard input, a request's worth at a time, never the whole file in memory."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import msgspec
import zstandard

LINES_AT_ONCE_MAX: Final = 1_000
BYTES_AT_ONCE_MAX: Final = 4 * 1024 * 1024
LINE_BYTES_MAX: Final = 256 * 1024  # twice what the hose takes: what is longer is cut here and refused there
HEAD_BYTES: Final = 1024 * 1024
ZSTD_FEED_BYTES: Final = 4096
ZSTD_WINDOW_BYTES_MAX: Final = 2**31  # `zstd --ultra --long=31`, on a file of one's own
ARRAY_BYTES_MAX: Final = 256 * 1024 * 1024  # an array must be in memory as a whole; more belongs into lines

_elements: Final = msgspec.json.Decoder(list[msgspec.Raw])
_element: Final = msgspec.json.Decoder(msgspec.Raw)


class SourceError(Exception):
    """A file that cannot be read as events; the message is for the person who named it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What goes into one request."""

    name: str
    numbers: list[int]  # of each line in the file, or of each element in the array, from 1
    lines: list[bytes]
    read_bytes: int  # of the file on disk so far


def size_bytes(paths: Iterable[str]) -> int | None:
    """How much there is to read; None where standard input is among it.

    Raises:
        SourceError: a file is not there.

    """
    size = 0
    for path in paths:
        if path == "-":
            return None
        try:
            size += Path(path).stat().st_size
        except OSError as error:
            raise SourceError(f"{path}: {error.strerror}") from None
    return size


def chunks(path: str) -> Iterator[Chunk]:
    """All events of a file: lines, an array, or one object; `.gz` and `.zst` by name.

    Raises:
        SourceError: it cannot be read on. What came before is good.

    """
    try:
        if path == "-":
            yield from _chunks("stdin", sys.stdin.buffer, None)
            return
        with Path(path).open("rb") as file, _uncompressed(path, file) as stream:
            yield from _chunks(path, stream, file)
    except (OSError, EOFError, zstandard.ZstdError) as error:
        raise SourceError(f"{path}: {error}") from None


def _uncompressed(path: str, file: BinaryIO) -> BinaryIO:
    if path.endswith(".gz"):
        return cast("BinaryIO", gzip.open(file, "rb"))
    if path.endswith(".zst"):
        return io.BufferedReader(_ZstdFile(file))
    return file


class _ZstdFile(io.RawIOBase):
    """Every frame of a zstd file; zstandard's own reader takes a file that ends too early for a whole one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frame = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX).decompressobj()
        self._begun = False
        self._ready = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As many bytes as there are, 0 at the end."""
        while not self._ready:
            unused = self._frame.unused_data
            fed = unused or self._file.read(ZSTD_FEED_BYTES)
            if not fed:
                if self._begun and not self._frame.eof:
                    raise EOFError("it ends too early")
                return 0
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX).decompressobj()
            self._begun = True
            self._ready = self._frame.decompress(fed)
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size


def _chunks(name: str, stream: BinaryIO, file: BinaryIO | None) -> Iterator[Chunk]:
    numbers: list[int] = []
    lines: list[bytes] = []
    size = read_bytes = 0
    for number, line in enumerate(_events(name, stream), start=1):
        if not line:
            continue
        if lines and (len(lines) >= LINES_AT_ONCE_MAX or size + len(line) > BYTES_AT_ONCE_MAX):
            yield Chunk(name, numbers, lines, read_bytes)
            numbers, lines, size = [], [], 0
        numbers.append(number)
        lines.append(line)
        size += len(line)
        read_bytes = file.tell() if file else read_bytes + len(line) + 1
    if lines:
        yield Chunk(name, numbers, lines, read_bytes)


def _events(name: str, stream: BinaryIO) -> Iterator[bytes]:
    """One event after the other, each on one line; an empty one keeps the count of lines right."""
    head = stream.read(HEAD_BYTES)
    start = head.lstrip()[:1]
    if start == b"[":
        yield from map(_on_one_line, _array(name, head, stream))
    elif start == b"{" and len(head) < HEAD_BYTES and _is_one_value(head):
        yield _on_one_line(head.strip())
    else:
        yield from _lines(head, stream)


def _array(name: str, head: bytes, stream: BinaryIO) -> list[bytes]:
    content = head + stream.read(ARRAY_BYTES_MAX - len(head) + 1)
    if len(content) > ARRAY_BYTES_MAX:
        raise SourceError(f"{name}: an array longer than {ARRAY_BYTES_MAX} bytes; make it one event a line")
    try:
        return list(map(bytes, _elements.decode(content)))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise SourceError(f"{name}: not a JSON array: {error}") from None


def _lines(head: bytes, stream: BinaryIO) -> Iterator[bytes]:
    rest = head
    while rest or (rest := stream.read(HEAD_BYTES)):
        *whole, tail = rest.split(b"\n")
        for line in whole:
            yield line.strip()[:LINE_BYTES_MAX]
        more = stream.read(HEAD_BYTES)
        if not more:
            yield tail.strip()[:LINE_BYTES_MAX]
            return
        rest = tail[:LINE_BYTES_MAX] + more


def _on_one_line(element: bytes) -> bytes:
    """Outside strings a line end is white space to JSON, inside them it is invalid anyway."""
    return element.replace(b"\r", b" ").replace(b"\n", b" ")


def _is_one_value(content: bytes) -> bool:
    try:
        _element.decode(content)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True
