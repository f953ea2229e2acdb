"""hose.recovery: what an earlier start left."""

import os
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from omni_etl.envelope import Stamp, pack
from omni_etl.hose.answer import Answer
from omni_etl.hose.numbers import HoseNumbers
from omni_etl.hose.owed import owed_runs
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
from omni_etl.hose.recovery import History, read_history
from omni_etl.hose.segments import path_of, read_record, segments_in


def _accepted(first: int, *lines: bytes) -> Accepted:
    block = Block(
        lane="bulk", first=first, runs=(Run("open", 1), Run("click", len(lines) - 1)), lines=pack_lines(lines)
    )
    request = Answered(name=lines[0], body=b"", answer=Answer(len(lines), ()), at_seconds=1)
    return Accepted(hose_id="h", blocks=(block,), requests=(request,))


def _cut(seq: int, events_to: int, *, count: int = 2, closing: bool = False, accepts: bool = False) -> Cut:
    stamp = Stamp("h", "bulk", seq, cut_at_ms=1, last_seq={}, accepted_count=events_to)
    header, payload = astuple(pack({"open": [b"x"] * count}, stamp))
    return Cut(
        hose_id="h",
        lane="bulk",
        seq=seq,
        events_to=events_to,
        closing=closing,
        header=header,
        payload=payload,
        accepts=accepts,
    )


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
    spans = owed_runs(directory, owed, hose_id="h", lane="bulk")
    return [line for _, runs in spans for _, lines in runs for line in lines]


def _seq(directory: Path, place: int) -> int:
    framed = read_record(directory, place)
    assert framed is not None
    assert isinstance(framed.record, Cut)
    return framed.record.seq


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
    ends = _write(tmp_path, 1, [_accepted(1, b"a", b"b"), _accepted(3, b"c", b"d"), _cut(1, 3, count=3)])
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
    assert _owed(tmp_path, history) == [b"c", b"d", b"e", b"f"]  # a and b were in a lost envelope
    assert history.hoses["h"].bulk.accepted_to == 6
    with capture_logs() as logs:
        read_history(tmp_path, _nothing)
    assert logs == []


def test_a_flipped_bit_in_the_last_segment_costs_one_record_and_none_behind_it(tmp_path: Path) -> None:
    """Wherever it is: in a START, in events, in an envelope whose events are cut again. Only a torn last one is quiet."""
    ends = [0, *_write(tmp_path, 1, [_accepted(1, b"a", b"b"), _cut(1, 2), _accepted(3, b"c", b"d"), _cut(2, 4)])]
    whole = path_of(tmp_path, 1).read_bytes()
    left = [
        ([], {1, 2}, []),  # a START says nothing here that the rest does not
        ([], {1, 2}, []),  # a and b are in their envelope
        ([b"a", b"b"], {2}, []),
        ([], {1, 2}, []),
        ([b"c", b"d"], {1}, ["torn"]),
    ]
    for at in range(0, len(whole), 7):
        record = sum(end <= at for end in ends) - 1
        content = bytearray(whole)
        content[at] ^= 1 << at % 8
        path_of(tmp_path, 1).write_bytes(content)
        with capture_logs() as logs:
            history = read_history(tmp_path, _nothing)
        owed, seqs, torn = left[record]
        assert _owed(tmp_path, history) == owed
        assert {_seq(tmp_path, place) for place in history.unsent} == seqs
        assert [entry["event"] for entry in logs] == ([] if torn else ["hose_spool_damaged"])
        assert bool(history.cut_off_bytes) == bool(torn)
        if not torn:
            assert logs[0]["log_level"] == "error"
            assert (logs[0]["offset"], logs[0]["damaged_bytes"]) == (ends[record], ends[record + 1] - ends[record])
            assert path_of(tmp_path, 1).read_bytes() == content  # places stay, so nothing is moved
            assert path_of(tmp_path, 1).with_suffix(".damaged").read_bytes() == content
            with capture_logs() as logs:
                read_history(tmp_path, _nothing)
            assert logs == []  # said once


def test_no_number_is_used_again_that_a_lost_envelope_may_bear(tmp_path: Path) -> None:
    """Two envelopes of one name would take each other for repetitions."""
    ends = _write(tmp_path, 1, [_accepted(1, b"a", b"b"), _cut(1, 2), _accepted(3, b"c", b"d")])
    content = bytearray(path_of(tmp_path, 1).read_bytes())
    content[ends[1] + 20] ^= 1  # in the cut
    path_of(tmp_path, 1).write_bytes(content)
    with capture_logs():
        history = read_history(tmp_path, _nothing)
    assert _owed(tmp_path, history) == [b"a", b"b", b"c", b"d"]
    assert (history.hoses["h"].bulk.seq, history.hoses["h"].bulk.cut_to) == (1, 0)
    content[ends[1] + 1] ^= 1  # nor is its length right
    path_of(tmp_path, 1).write_bytes(content)
    with capture_logs():
        assert read_history(tmp_path, _nothing).hoses["h"].bulk.seq > 1


def test_a_closed_hose_is_open_again_for_an_envelope_that_was_lost(tmp_path: Path) -> None:
    """Else nobody would ever bring its events out."""
    ends = _write(tmp_path, 1, [_accepted(1, b"a", b"b"), _cut(1, 2), _cut(2, 2, count=0, closing=True)])
    content = bytearray(path_of(tmp_path, 1).read_bytes())
    content[ends[1] + 20] ^= 1
    path_of(tmp_path, 1).write_bytes(content)
    with capture_logs():
        history = read_history(tmp_path, _nothing)
    assert not history.hoses["h"].bulk.closed
    assert _owed(tmp_path, history) == [b"a", b"b"]


def test_a_torn_end_behind_damage_is_cut_off(tmp_path: Path) -> None:
    """Both happened: the one is set aside, the other was never acknowledged."""
    ends = _write(tmp_path, 1, [_accepted(1, b"a", b"b"), _accepted(3, b"c", b"d"), _accepted(5, b"e", b"f")])
    content = bytearray(path_of(tmp_path, 1).read_bytes())
    content[ends[0] + 20] ^= 1
    path_of(tmp_path, 1).write_bytes(content[:-1])
    with capture_logs() as logs:
        history = read_history(tmp_path, _nothing)
    assert [entry["event"] for entry in logs] == ["hose_spool_damaged"]
    assert _owed(tmp_path, history) == [b"c", b"d"]
    assert history.cut_off_bytes == ends[3] - ends[2] - 1
    assert history.segments[1].size_bytes == path_of(tmp_path, 1).stat().st_size == ends[2]


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


def _group(first: int, *lines: bytes, cuts: int) -> Accepted:
    """The end of a group whose first events are in cuts."""
    return structs.replace(_accepted(first, *lines), cuts=cuts)


def _read(directory: Path) -> tuple[History, list[bytes]]:
    """The history, and the names of the requests in it."""
    remembered: list[bytes] = []
    history = read_history(directory, lambda requests: remembered.extend(each.name for each in requests))
    return history, remembered


def _damage(directory: Path, offset: int) -> None:
    content = bytearray(path_of(directory, 1).read_bytes())
    content[offset] ^= 0xFF
    path_of(directory, 1).write_bytes(content)


def test_cuts_that_accept_count_with_the_end_of_their_group_and_not_before(tmp_path: Path) -> None:
    """At every byte: all of it or nothing, and a request is remembered only with all of its events."""
    records: list[Record] = [_accepted(1, b"a", b"b"), _cut(1, 4, count=4, accepts=True), _cut(2, 6, accepts=True)]
    ends = _write(tmp_path, 1, [*records, _group(7, b"g", b"h", cuts=2)])
    content = path_of(tmp_path, 1).read_bytes()
    for size in range(ends[1], len(content) + 1):
        path_of(tmp_path, 1).write_bytes(content[:size])
        with capture_logs() as logs:
            history, remembered = _read(tmp_path)
        assert logs == []
        if size < len(content):
            assert (_owed(tmp_path, history), list(history.unsent), remembered) == ([b"a", b"b"], [], [b"a"])
            assert history.hoses["h"].bulk.seq == 0
            assert path_of(tmp_path, 1).stat().st_size == ends[1]
    assert (_owed(tmp_path, history), remembered) == ([b"g", b"h"], [b"a", b"g"])
    assert [_seq(tmp_path, place) for place in history.unsent] == [1, 2]
    assert history.hoses["h"].bulk.accepted_to == 8


def test_of_a_group_the_disk_wrote_only_in_part_nothing_counts(tmp_path: Path) -> None:
    """Pages reach a disk in any order: the end of a group does not prove its beginning."""
    records: list[Record] = [_accepted(1, b"a", b"b"), _cut(1, 4, count=4, accepts=True), _cut(2, 6, accepts=True)]
    ends = _write(tmp_path, 1, [*records, _group(7, b"g", b"h", cuts=2)])
    _damage(tmp_path, ends[1] + 100)
    with capture_logs() as logs:
        history, remembered = _read(tmp_path)
    assert [each["event"] for each in logs] == ["hose_spool_damaged"]
    assert (_owed(tmp_path, history), list(history.unsent), remembered) == ([b"a", b"b"], [], [b"a"])
    assert history.hoses["h"].bulk.seq >= 2  # no number of it is used again
    with capture_logs() as logs:
        assert _owed(tmp_path, read_history(tmp_path, _nothing)) == [b"a", b"b"]


@pytest.mark.parametrize("later", [_accepted(9, b"i", b"j"), Confirmed((0,)), _cut(3, 8), _cut(3, 8, accepts=True)])
@pytest.mark.parametrize("damaged", [1, 3])
def test_of_a_group_that_was_answered_all_that_is_whole_counts(tmp_path: Path, damaged: int, later: Record) -> None:
    """A group was answered if another one follows; then what is lost is the disk's fault, and nothing else may be."""
    group: list[Record] = [_cut(1, 4, count=4, accepts=True), _cut(2, 6, accepts=True), _group(7, b"g", b"h", cuts=2)]
    end = [later, _group(9, b"k", b"l", cuts=1)] if isinstance(later, Cut) and later.accepts else [later]
    ends = _write(tmp_path, 1, [_accepted(1, b"a", b"b"), *group, *end])
    _damage(tmp_path, ends[damaged] + 50)
    with capture_logs() as logs:
        history = read_history(tmp_path, _nothing)
    assert [each["event"] for each in logs] == ["hose_spool_damaged"]
    whole = {1, 2} - {damaged}
    assert whole <= {_seq(tmp_path, place) for place in history.unsent}


def test_a_group_at_the_end_of_an_earlier_segment_was_answered(tmp_path: Path) -> None:
    """A later segment follows only where the one before was written whole."""
    ends = _write(tmp_path, 1, [_cut(1, 2, accepts=True), _group(3, b"c", b"d", cuts=1)])
    _write(tmp_path, 2, [], HoseNumbers().accept("bulk", 4).cut("bulk", seq=1, events_to=2, closing=False))
    _damage(tmp_path, ends[1] + 20)
    with capture_logs():
        history = read_history(tmp_path, _nothing)
    assert [_seq(tmp_path, place) for place in history.unsent] == [1]


@pytest.mark.parametrize("torn", [b"", b"torn"])
def test_what_is_read_is_made_durable_before_it_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bytes
) -> None:
    """Whoever wrote the last segment may have been killed before its fsync: it is synced before its requests are remembered."""
    done: list[object] = []
    monkeypatch.setattr(os, "fsync", lambda file: done.append(os.fstat(file).st_ino))
    _write(tmp_path, 1, [_accepted(1, b"a", b"b")])
    _write(tmp_path, 2, [_accepted(3, b"c", b"d")])
    with path_of(tmp_path, 2).open("ab") as file:
        file.write(torn)
    read_history(tmp_path, lambda requests: done.append(requests[0].name))
    assert done.index(path_of(tmp_path, 2).stat().st_ino) < done.index(b"c")
