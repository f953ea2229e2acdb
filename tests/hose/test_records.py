"""hose.records: frames that are whole or nothing."""

from hypothesis import given
from hypothesis import strategies as st

from omni_etl.envelope import Stamp, pack
from omni_etl.hose.answer import Answer
from omni_etl.hose.numbers import HoseNumbers
from omni_etl.hose.records import (
    Accepted,
    Answered,
    Block,
    Confirmed,
    Cut,
    Record,
    Run,
    Start,
    cuts_in_damage_max,
    frame,
    next_whole,
    pack_lines,
    scan,
    unpack_lines,
)

BLOCK = Block(lane="bulk", first=5, runs=(Run("open", 2), Run("click", 1)), lines=pack_lines([b"a", b"b", b"c"]))
RECORDS: list[Record] = [
    Start(hose_id="h", hoses={"h": HoseNumbers().accept("bulk", 4)}, ended={3: 17}),
    Accepted(
        hose_id="h", blocks=(BLOCK,), requests=(Answered(name=b"n", body=b"b", answer=Answer(1, ()), at_seconds=9),)
    ),
    Cut(hose_id="h", lane="bulk", seq=1, events_to=7, closing=False, header="{}", payload=b"\x00\xff"),
    Confirmed((1, 2, 3)),
]


def test_every_record_comes_back_as_it_was() -> None:
    """With its place."""
    content = b"".join(map(frame, RECORDS))
    framed = list(scan(content))
    assert [each.record for each in framed] == RECORDS
    assert framed[-1].end == len(content)
    assert (BLOCK.count, BLOCK.last, unpack_lines(BLOCK)) == (3, 7, [b"a", b"b", b"c"])


def test_a_torn_record_is_no_record_wherever_it_is_torn() -> None:
    """Those before it are."""
    whole = b"".join(map(frame, RECORDS[:2]))
    last = frame(RECORDS[2])
    for size in range(len(last)):
        assert [each.record for each in scan(whole + last[:size])] == RECORDS[:2]


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_record_is_no_record_whichever_byte_is_wrong(position: int, change: int) -> None:
    """Kind and length are under the checksum too."""
    content = bytearray(frame(RECORDS[1]))
    content[position % len(content)] ^= change
    assert list(scan(bytes(content))) == []


@given(st.binary(max_size=300), st.sampled_from(RECORDS), st.binary(max_size=300))
def test_a_whole_record_is_found_behind_anything(before: bytes, record: Record, behind: bytes) -> None:
    """Of each kind, at whatever byte; half a record is none."""
    content = b"?" + before + frame(record)
    assert next_whole(content + behind, 0) == 1 + len(before)
    assert next_whole(content[:-1], 0) is None


def test_of_damage_no_more_is_believed_than_its_length_proves() -> None:
    """A wrong byte in its content leaves the kind; a wrong length leaves only how many envelopes can have fitted."""
    for record, cuts in zip(RECORDS, [0, 0, 1, 0], strict=True):
        content = bytearray(b"??" + frame(record) + frame(RECORDS[0]))
        end = 2 + len(frame(record))
        assert cuts_in_damage_max(bytes(content), 2, end) == cuts
        content[3] ^= 1
        assert cuts_in_damage_max(bytes(content), 2, end) == 1
    assert cuts_in_damage_max(bytes(3_000), 0, 3_000) >= 3_000 // len(_smallest_cut())
    assert cuts_in_damage_max(bytes(3), 0, 3) == 1


def test_a_hole_is_no_record() -> None:
    """Zeros are what a file system leaves where a write was lost."""
    assert list(scan(bytes(1_000))) == []


def _smallest_cut() -> bytes:
    sealed = pack({}, Stamp("0" * 32, "bulk", 1, 1, {"express": 1, "bulk": 1}, 0, closing=True))
    return frame(
        Cut(
            hose_id="0" * 32,
            lane="bulk",
            seq=1,
            events_to=0,
            closing=True,
            header=sealed.header,
            payload=sealed.payload,
        )
    )
