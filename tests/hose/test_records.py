"""hose.records: frames that are whole or nothing."""

from hypothesis import given
from hypothesis import strategies as st

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
    frame,
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


def test_a_hole_is_no_record() -> None:
    """Zeros are what a file system leaves where a write was lost."""
    assert list(scan(bytes(1_000))) == []
