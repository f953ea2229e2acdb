"""Pieces: an envelope's lines, as many at a time as stay in a processor's cache once they are decoded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

PIECE_BYTES: Final = 256 * 1024  # decoding 10 MiB at once costs twice as much an event (docs/decisions/0013)


def pieces(lines: bytes) -> Iterator[bytes]:
    """Whole lines, `PIECE_BYTES` and the rest of a line at a time, in order."""
    start = 0
    while start < len(lines):
        end = lines.find(b"\n", start + PIECE_BYTES - 1) + 1 or len(lines)
        yield lines[start:end]
        start = end
