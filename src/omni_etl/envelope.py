"""Envelope: the events packed together in one queue message.

A JSON header (readable in any queue's console) and one zstd frame of NDJSON, lines grouped by event type, so that a
service slices out the types it binds to without parsing the rest. An envelope is immutable: a resend is byte for byte
the same, under the same key `<hose_id>-<lane>-<seq>`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal

import msgspec
import zstandard

from omni_etl.errors import EnvelopeError, NewerEnvelopeError

VERSION: Final = 1
CODEC: Final = "zstd"
LANES: Final = ("express", "bulk")
Lane = Literal["express", "bulk"]
RAW_BYTES_MAX: Final = 64 * 1024 * 1024  # what a header may claim; a zstd bomb ends here
ZSTD_LEVEL: Final = 1  # beat level 3 in both size and speed (docs/decisions/0003)
ZSTD_WINDOW_LOG: Final = 24  # one email's events of different types lie megabytes apart (docs/decisions/0011)
ZSTD_HASH_LOG: Final = 17


class TypeRange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where the lines of one event type stand in the uncompressed payload."""

    type: str
    count: int
    start: int
    size_bytes: int


class Header(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What can be known of an envelope without opening its payload."""

    version: int = VERSION
    hose_id: str
    lane: Lane
    seq: int
    cut_at_ms: int
    codec: str = CODEC
    event_count: int
    raw_bytes: int
    checksum: str
    types: tuple[TypeRange, ...]
    last_seq: Mapping[str, int]  # the last number cut in each lane, so that an auditor sees gaps
    accepted_count: int  # events this hose_id has accepted so far, both lanes
    closing: bool = False  # this hose_id will cut no more in this lane

    @property
    def key(self) -> str:
        """The envelope's name, unique for ever."""
        return f"{self.hose_id}-{self.lane}-{self.seq}"

    @property
    def tracked_as(self) -> str:
        """The tracker's name for it: key and content, so that another content under one key is judged by the ledgers."""
        return f"{self.key}-{self.checksum}"


@dataclass(frozen=True, slots=True)
class SealedEnvelope:
    """What a queue carries: header text and payload bytes, opaque to the queue."""

    header: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the hose knows at the moment of the cut and the batcher does not."""

    hose_id: str
    lane: Lane
    seq: int
    cut_at_ms: int
    last_seq: Mapping[str, int]
    accepted_count: int
    closing: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """An opened envelope: header and uncompressed lines."""

    header: Header
    raw: bytes

    @property
    def key(self) -> str:
        """The envelope's name."""
        return self.header.key

    def lines(self, type_name: str) -> list[bytes]:
        """The lines of one event type, in the order in which they were accepted; empty where there are none."""
        found = next((each for each in self.header.types if each.type == type_name), None)
        if found is None:
            return []
        return self.raw[found.start : found.start + found.size_bytes - 1].split(b"\n")


def pack(lines_by_type: Mapping[str, Sequence[bytes]], stamp: Stamp) -> SealedEnvelope:
    """Seal lines (canonical, without line ends) into an envelope."""
    ranges: list[TypeRange] = []
    start = 0
    for type_name, lines in lines_by_type.items():
        if lines:
            size_bytes = sum(map(len, lines)) + len(lines)
            ranges.append(TypeRange(type_name, len(lines), start, size_bytes))
            start += size_bytes
    raw = b"\n".join(chain(*lines_by_type.values(), (b"",) if ranges else ()))
    payload = compress(raw)
    header = Header(
        hose_id=stamp.hose_id,
        lane=stamp.lane,
        seq=stamp.seq,
        cut_at_ms=stamp.cut_at_ms,
        event_count=sum(each.count for each in ranges),
        raw_bytes=len(raw),
        checksum=checksum(payload),
        types=tuple(ranges),
        last_seq=stamp.last_seq,
        accepted_count=stamp.accepted_count,
        closing=stamp.closing,
    )
    return SealedEnvelope(msgspec.json.encode(header).decode(), payload)


def open_header(text: str | bytes) -> Header:
    """Read a header.

    Raises:
        NewerEnvelopeError: where it is of a newer version or another codec, whatever else stands in it.
        EnvelopeError: where it is no header of ours.

    """
    try:
        header = _header.decode(text)
    except _NO_HEADER as error:
        _refuse_newer(text)
        raise EnvelopeError(f"no envelope header: {error}") from None
    if header.version != VERSION or header.codec != CODEC:
        _refuse_newer(text)
        raise EnvelopeError(f"version {header.version}; the first was 1")
    if header.raw_bytes > RAW_BYTES_MAX:
        raise EnvelopeError(f"claims {header.raw_bytes} bytes uncompressed; {RAW_BYTES_MAX} are allowed")
    return header


def open_payload(header: Header, payload: bytes) -> Envelope:
    """Uncompress and verify: the frame carries its own checksum, so damage never passes as data.

    Raises:
        EnvelopeError: where bytes and header disagree.

    """
    try:
        said_bytes = zstandard.frame_content_size(payload)
        if said_bytes not in (-1, header.raw_bytes):  # believed by the decompressor, whatever `max_output_size` says
            raise EnvelopeError(f"payload of {header.key} says {said_bytes} bytes, its header {header.raw_bytes}")
        # A decompressor of its own: one shared by two threads reports corruption on good data (docs/decisions/0003).
        raw = zstandard.ZstdDecompressor().decompress(
            payload, max_output_size=max(1, header.raw_bytes), allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise EnvelopeError(f"payload of {header.key} does not open: {error}") from None
    if len(raw) != header.raw_bytes:
        raise EnvelopeError(f"payload of {header.key} holds {len(raw)} bytes, its header says {header.raw_bytes}")
    _check_ranges(header, raw)
    return Envelope(header, raw)


def lane_of(text: str | bytes) -> Lane:
    """The lane a header names, also where nothing else of it can be read; bulk where that cannot either."""
    try:
        return _lane.decode(text).lane
    except _NO_HEADER:
        return "bulk"


def select(envelope: Envelope, type_names: Iterable[str]) -> list[tuple[str, list[bytes]]]:
    """The lines of these types, type by type, in payload order."""
    wanted = frozenset(type_names)
    return [(each.type, envelope.lines(each.type)) for each in envelope.header.types if each.type in wanted]


def checksum(payload: bytes) -> str:
    """SHA-256 of the payload, first 16 bytes in hex: tells two envelopes under one key apart. Nobody computes it again."""
    return hashlib.sha256(payload).hexdigest()[:32]


def compress(raw: bytes) -> bytes:
    """One zstd frame with its content size and a checksum of its own (XXH64: a tenth of what SHA-256 costs each reader)."""
    return zstandard.ZstdCompressor(compression_params=_compression).compress(raw)


def _refuse_newer(text: str | bytes) -> None:
    """A newer header may have other fields and other types in the old ones: ask for these two alone."""
    try:
        kind = _kind.decode(text)
    except _NO_HEADER:
        return
    if kind.version > VERSION or (kind.version == VERSION and kind.codec != CODEC):
        raise NewerEnvelopeError(
            f"version {kind.version} with codec {kind.codec!r}; this program reads {VERSION}, {CODEC!r}"
        )


class _Kind(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    version: int
    codec: str = CODEC


class _Lane(msgspec.Struct, frozen=True, gc=False):
    lane: Lane


def _check_ranges(header: Header, raw: bytes) -> None:
    end = 0
    for each in header.types:
        if each.start != end or each.count < 1 or each.size_bytes < each.count:
            raise EnvelopeError(f"the ranges of {header.key} do not tile its payload")
        end += each.size_bytes
        if raw[end - 1 : end] != b"\n":
            raise EnvelopeError(f"a range of {header.key} does not end with a line")
    if len({each.type for each in header.types}) < len(header.types):
        raise EnvelopeError(f"{header.key} has two ranges of one type")
    if end != header.raw_bytes or sum(each.count for each in header.types) != header.event_count:
        raise EnvelopeError(f"the ranges of {header.key} do not add up")


_compression: Final = zstandard.ZstdCompressionParameters.from_level(
    ZSTD_LEVEL, window_log=ZSTD_WINDOW_LOG, hash_log=ZSTD_HASH_LOG, write_content_size=True, write_checksum=True
)  # both are made smaller by the compressor where the payload is
# What msgspec raises on rubbish: also for members that nobody asked for but nested too deep, and for broken UTF-8.
_NO_HEADER: Final = (msgspec.MsgspecError, RecursionError, UnicodeError)
_header: Final = msgspec.json.Decoder(Header)
_kind: Final = msgspec.json.Decoder(_Kind)
_lane: Final = msgspec.json.Decoder(_Lane)
