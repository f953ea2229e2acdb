"""Records: what stands in the spool, and how it is framed so that a torn or damaged one is never believed.

A frame is kind, length and CRC-32 (of kind, length and content), then the content: a msgpack structure. A reader goes
from frame to frame and stops at the first one that is not whole. What stands behind it can only be found by looking
everywhere: its length is not to be believed.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

import msgspec
import zstandard

from omni_etl.envelope import Lane, SealedEnvelope
from omni_etl.hose.answer import Answer
from omni_etl.hose.numbers import HoseNumbers

_HEAD: Final = struct.Struct("<BII")
HEAD_BYTES: Final = _HEAD.size
CONTENT_BYTES_MAX: Final = 512 * 1024 * 1024  # more than one group can hold; a length beyond it is damage


_CUT_BYTES_MIN: Final = 256  # the header of an envelope alone is longer


class Kind(IntEnum):
    """What a record says. Never 0: a hole in a file is no record."""

    START = 1
    ACCEPTED = 2
    CUT = 3
    CONFIRMED = 4


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """First record of every segment: all that earlier segments said and later ones need, since those will be deleted."""

    hose_id: str  # of the hose that writes this segment
    hoses: dict[str, HoseNumbers]  # every hose_id not yet closed in both lanes
    ended: dict[int, int] = {}  # segment → offset, where a failed write ended it: nothing after it was acknowledged


class Run(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Consecutive lines of one event type."""

    type: str
    count: int


class Block(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Accepted events of one lane, numbered from `first` in the order in which they stand."""

    lane: Lane
    first: int
    runs: tuple[Run, ...]
    lines: bytes  # one zstd frame; canonical lines, each with its line end

    @property
    def count(self) -> int:
        """Events in it."""
        return sum(run.count for run in self.runs)

    @property
    def last(self) -> int:
        """The number of the last event in it."""
        return self.first + self.count - 1


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A request that must be recognised when it is repeated."""

    name: bytes  # digest of its Idempotency-Key, or of its body
    body: bytes  # digest of its body: the same key with another body is a mistake
    answer: Answer
    at_seconds: int


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """One group commit: events and the requests that brought them.

    What filled an envelope at once stands in a CUT before it and nowhere else; nothing of both counts without the other.
    """

    hose_id: str
    blocks: tuple[Block, ...]
    requests: tuple[Answered, ...]
    cuts: int = 0  # how many CUTs before it hold events that it accepts


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """An envelope as it will be sent, however often."""

    hose_id: str
    lane: Lane
    seq: int
    events_to: int  # the number of the last event in it or in an earlier envelope of the lane
    closing: bool
    header: str
    payload: bytes
    accepts: bool = False  # holds events that the ACCEPTED behind it accepts; without that one it does not count

    @property
    def envelope(self) -> SealedEnvelope:
        """What the queue gets."""
        return SealedEnvelope(self.header, self.payload)


class Confirmed(msgspec.Struct, frozen=True, array_like=True):
    """Places of cuts that the queue keeps. Losing this record repeats a send under the same key, no more."""

    places: tuple[int, ...]


Record = Start | Accepted | Cut | Confirmed
_KINDS: Final[dict[Kind, type[Record]]] = {
    Kind.START: Start,
    Kind.ACCEPTED: Accepted,
    Kind.CUT: Cut,
    Kind.CONFIRMED: Confirmed,
}
_KIND_OF: Final = {shape: kind for kind, shape in _KINDS.items()}
_decoders: Final = {kind: msgspec.msgpack.Decoder(shape) for kind, shape in _KINDS.items()}


# How each frame begins: kind, length, CRC, and the first bytes of its structure. So that looking for one is cheap.
_BEGINNING: Final = re.compile(rb"(?=[\x01-\x03].{8}[\x80-\x8f]\xa7hose_id|\x04.{8}\x91)", re.DOTALL)


class Framed(NamedTuple):
    """A whole record and where its frame stands."""

    offset: int
    end: int
    record: Record


def frame(record: Record) -> bytes:
    """The bytes of one record."""
    content = msgspec.msgpack.encode(record)
    kind = _KIND_OF[type(record)]
    return _HEAD.pack(kind, len(content), _crc(kind, content)) + content


def unframe(content: bytes, offset: int = 0) -> Framed | None:
    """The record whose frame begins at `offset`, or None where no whole one does."""
    if len(content) - offset < HEAD_BYTES:
        return None
    kind, size, crc = _HEAD.unpack_from(content, offset)
    start, end = offset + HEAD_BYTES, offset + HEAD_BYTES + size
    if kind not in _decoders or size > CONTENT_BYTES_MAX or end > len(content):
        return None
    body = content[start:end]
    if _crc(kind, body) != crc:
        return None
    return Framed(offset, end, _decoders[kind].decode(body))


def scan(content: bytes, offset: int = 0) -> Iterator[Framed]:
    """The whole records from `offset` on; ends at the first that is not."""
    while (framed := unframe(content, offset)) is not None:
        yield framed
        offset = framed.end


def next_whole(content: bytes, offset: int) -> int | None:
    """Where the first whole record behind `offset` stands, at whatever byte; None where there is none."""
    beginnings = (found.start() for found in _BEGINNING.finditer(content, offset + 1))
    return next((at for at in beginnings if unframe(content, at) is not None), None)


def cuts_in_damage_max(content: bytes, offset: int, end: int) -> int:
    """How many cuts may have stood between these two, of which nothing else is known.

    Where the length at `offset` leads to `end` it is one record, and its kind is to be believed.
    """
    if end - offset >= HEAD_BYTES:
        kind, size, _ = _HEAD.unpack_from(content, offset)
        if offset + HEAD_BYTES + size == end and kind in _decoders:
            return int(kind == Kind.CUT)
    return (end - offset) // _CUT_BYTES_MIN + 1


def pack_lines(lines: Sequence[bytes]) -> bytes:
    """Lines as `Block.lines` holds them."""
    return zstandard.ZstdCompressor(level=1).compress(b"\n".join(lines))


def unpack_lines(block: Block) -> list[bytes]:
    """The lines of a block."""
    return zstandard.ZstdDecompressor().decompress(block.lines).split(b"\n")


def _crc(kind: int, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(_HEAD.pack(kind, len(content), 0)))
