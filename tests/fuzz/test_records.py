"""Spool records: no damage, torn end or forged frame is believed or brings a hose down."""

import contextlib
import struct
import zlib

import msgspec
from hypothesis import strategies as st
from tests.fuzz.budget import MIB, altered, fuzz, odd_json, within_memory

from omni_etl.hose.answer import Answer, Rejection
from omni_etl.hose.numbers import HoseNumbers
from omni_etl.hose.records import (
    Accepted,
    Answered,
    Block,
    Confirmed,
    Cut,
    Kind,
    Record,
    Run,
    Start,
    cuts_in_damage_max,
    frame,
    next_whole,
    pack_lines,
    scan,
    unframe,
    unpack_lines,
)


def _packed(value: object) -> bytes:
    try:
        return msgspec.msgpack.encode(value)
    except (OverflowError, UnicodeEncodeError):
        return b""


BLOCK = Block(lane="bulk", first=1, runs=(Run("open", 2),), lines=pack_lines([b"{}", b"{}"]))
RECORDS: list[Record] = [
    Start(hose_id="ab" * 16, hoses={"cd" * 16: HoseNumbers()}),
    Cut(hose_id="ab" * 16, lane="bulk", seq=1, events_to=2, closing=False, header="{}", payload=b"p" * 300),
    Accepted(
        hose_id="ab" * 16,
        blocks=(BLOCK,),
        requests=(Answered(name=b"n", body=b"b", answer=Answer(2, (Rejection(3, "why"),)), at_seconds=1),),
    ),
    Confirmed((1, 2, 3)),
]
SEGMENT = b"".join(map(frame, RECORDS))


@fuzz(content=altered(SEGMENT), offset=st.integers(0, len(SEGMENT) + 9))
def test_an_altered_segment(content: bytes, offset: int) -> None:
    """Every record that is found is one that was written, and looking for one ends."""
    with within_memory(MIB):
        found = [each.record for each in scan(content)]
        at = next_whole(content, offset)
    assert all(each in RECORDS for each in found)
    if at is not None:
        assert at > offset
        whole = unframe(content, at)
        assert whole is not None
        assert whole.record in RECORDS
    assert cuts_in_damage_max(content, min(offset, len(content)), len(content)) >= 0


@fuzz(kind=st.integers(0, 255), body=st.binary(max_size=80) | odd_json().map(_packed))
def test_a_forged_record_under_a_right_checksum(kind: int, body: bytes) -> None:
    """Who can write the disk can stop the hose, with an error that is known; nothing else happens."""
    crc = zlib.crc32(body, zlib.crc32(struct.pack("<BII", kind, len(body), 0)))
    content = struct.pack("<BII", kind, len(body), crc) + body
    with contextlib.suppress(msgspec.MsgspecError), within_memory(MIB):
        framed = unframe(content)
        assert (framed is None) is (kind not in set(Kind)) or framed is not None


@fuzz(lines=st.lists(st.binary(min_size=1, max_size=40).filter(lambda line: b"\n" not in line), min_size=1, max_size=9))
def test_lines_come_back(lines: list[bytes]) -> None:
    """What is packed is unpacked."""
    block = Block(lane="bulk", first=1, runs=(Run("open", len(lines)),), lines=pack_lines(lines))
    assert unpack_lines(block) == lines
