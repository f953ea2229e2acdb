"""hose.recovery: what an earlier start left."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

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
)
from omni_etl.hose.recovery import History, owed_lines, read_history
from omni_etl.hose.segments import path_of, segments_in


def _accepted(first: int, *lines: bytes) -> Accepted:
    block = Block(
        lane="bulk", first=first, runs=(Run("open", 1), Run("click", len(lines) - 1)), lines=pack_lines(lines)
    )
    request = Answered(name=lines[0], body=b"", answer=Answer(len(lines), ()), at_seconds=1)
    return Accepted(hose_id="h", blocks=(block,), requests=(request,))


def _cut(seq: int, events_to: int, *, closing: bool = False) -> Cut:
    return Cut(hose_id="h", lane="bulk", seq=seq, events_to=events_to, closing=closing, header="{}", payload=b"p")


def _write(directory: Path, segment: int, records: Sequence[Record], numbers: HoseNumbers | None = None) -> list[int]:
    """A segment; answers where each record ends."""
    start = Start(hose_id="h", hoses={"h": numbers or HoseNumbers()})
    frames = [frame(start), *map(frame, records)]
    path_of(directory, segment).write_bytes(b"".join(frames))
    return [sum(map(len, frames[: count + 1])) for count in range(len(frames))]


def _owed(directory: Path, history: History) -> list[bytes]:
    owed = history.owed.get(("h", "bulk"))
    if owed is None or "h" not in history.hoses:
        return []
    after = history.hoses["h"].bulk.cut_to
    runs = owed_lines(directory, owed, hose_id="h", lane="bulk", after=after)
    return [line for _, lines in runs for line in lines]


def _nothing(_: Sequence[Answered]) -> None:
    """Nobody asks for requests."""


def test_what_is_accepted_and_not_cut_is_owed(tmp_path: Path) -> None:
    """To the event, with its type, although an envelope ended within a block."""
    _write(tmp_path, 1, [_accepted(1, b"a", b"b", b"c"), _accepted(4, b"d", b"e"), _cut(1, 2)])
    remembered: list[bytes] = []
    history = read_history(tmp_path, lambda requests: remembered.extend(each.name for each in requests))
    assert _owed(tmp_path, history) == [b"c", b"d", b"e"]
    assert history.hoses["h"].bulk.seq == 1
    assert list(history.unsent.values()) == ["bulk"]
    assert remembered == [b"a", b"d"]


def test_what_the_queue_confirmed_is_not_sent_again(tmp_path: Path) -> None:
    """And no longer keeps its segment."""
    _write(tmp_path, 1, [_accepted(1, b"a", b"b"), _cut(1, 2)])
    [place] = read_history(tmp_path, _nothing).unsent
    _write(
        tmp_path,
        2,
        [Confirmed((place,))],
        HoseNumbers().accept("bulk", 2).cut("bulk", seq=1, events_to=2, closing=False),
    )
    history = read_history(tmp_path, _nothing)
    assert history.unsent == {}
    assert history.segments[1].unsent_count == 0


def test_a_torn_end_of_the_last_segment_is_cut_off_wherever_it_is(tmp_path: Path) -> None:
    """At every byte: whole records count, the rest never happened, and nobody is called."""
    ends = _write(tmp_path, 1, [_accepted(1, b"a", b"b"), _accepted(3, b"c", b"d"), _cut(1, 3)])
    content = path_of(tmp_path, 1).read_bytes()
    expected = [[], [b"a", b"b"], [b"a", b"b", b"c", b"d"], [b"d"]]
    for size in range(len(content) + 1):
        path_of(tmp_path, 1).write_bytes(content[:size])
        with capture_logs() as logs:
            history = read_history(tmp_path, _nothing)
        whole = sum(end <= size for end in ends)
        assert _owed(tmp_path, history) == (expected[whole - 1] if whole else [])
        assert logs == []
        if whole:
            assert path_of(tmp_path, 1).stat().st_size == ends[whole - 1]
        else:
            assert segments_in(tmp_path) == []
        assert history.next_segment == 2


def test_damage_in_an_earlier_segment_is_set_aside_and_the_others_are_read(tmp_path: Path) -> None:
    """Someone is called, once; what a later START calls cut is never cut again."""
    ends = _write(tmp_path, 1, [_accepted(1, b"a", b"b"), _cut(1, 2), _accepted(3, b"c", b"d")])
    later = HoseNumbers().accept("bulk", 4).cut("bulk", seq=1, events_to=2, closing=False)
    _write(tmp_path, 2, [_accepted(5, b"e", b"f")], later)
    content = bytearray(path_of(tmp_path, 1).read_bytes())
    content[ends[1] + 20] ^= 1  # in the cut
    path_of(tmp_path, 1).write_bytes(content)
    with capture_logs() as logs:
        history = read_history(tmp_path, _nothing)
    assert [entry["event"] for entry in logs] == ["hose_spool_damaged"]
    assert path_of(tmp_path, 1).with_suffix(".damaged").read_bytes() == content
    assert _owed(tmp_path, history) == [b"e", b"f"]  # a and b were in a lost envelope, c and d are lost
    assert history.hoses["h"].bulk.accepted_to == 6
    with capture_logs() as logs:
        read_history(tmp_path, _nothing)
    assert logs == []


def test_what_stands_after_a_failed_write_is_not_believed(tmp_path: Path) -> None:
    """Though it is whole: its producers were told 503, and the numbers were given again."""
    ends = _write(tmp_path, 1, [_accepted(1, b"a", b"b"), _accepted(3, b"refused", b"too")])
    start = Start(hose_id="h", hoses={"h": HoseNumbers().accept("bulk", 2)}, ended={1: ends[1]})
    path_of(tmp_path, 2).write_bytes(frame(start) + frame(_accepted(3, b"c", b"d")))
    history = read_history(tmp_path, _nothing)
    assert _owed(tmp_path, history) == [b"a", b"b", b"c", b"d"]


def test_a_start_that_no_longer_names_a_hose_has_closed_it(tmp_path: Path) -> None:
    """Even where the record of its closing is lost."""
    _write(tmp_path, 1, [_accepted(1, b"a", b"b")])
    path_of(tmp_path, 2).write_bytes(frame(Start(hose_id="new", hoses={"new": HoseNumbers()})))
    history = read_history(tmp_path, _nothing)
    assert list(history.hoses) == ["new"]
    assert _owed(tmp_path, history) == []


def test_an_empty_file_is_no_segment(tmp_path: Path) -> None:
    """It is what a start leaves that died between creating a file and writing into it."""
    _write(tmp_path, 1, [_accepted(1, b"a", b"b")])
    path_of(tmp_path, 2).touch()
    with capture_logs() as logs:
        history = read_history(tmp_path, _nothing)
    assert (_owed(tmp_path, history), history.next_segment, logs) == ([b"a", b"b"], 3, [])


@pytest.mark.parametrize("name", ["0000000001.damaged", "notes.spool", "lock"])
def test_other_files_in_the_directory_are_left_alone(tmp_path: Path, name: str) -> None:
    """Copies set aside above all."""
    (tmp_path / name).write_bytes(b"x")
    assert read_history(tmp_path, _nothing).segments == {}
    assert (tmp_path / name).exists()
