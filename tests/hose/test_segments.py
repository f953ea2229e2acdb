"""hose.segments: files that are synced before they are believed, and never mended."""

import errno
import os
from pathlib import Path

import pytest

from omni_etl.hose.numbers import HoseNumbers
from omni_etl.hose.records import Confirmed, Start, frame, scan
from omni_etl.hose.segments import SegmentWriter, is_set_aside, path_of, read_record, segments_in, set_aside

START = Start(hose_id="h", hoses={"h": HoseNumbers()})
ONE = frame(Confirmed((1,)))
TWO = frame(Confirmed((2,)))


def _writer(directory: Path, *, segment_bytes: int = 10_000) -> SegmentWriter:
    return SegmentWriter(directory, next_segment=1, segment_bytes=segment_bytes)


def test_a_record_is_found_at_its_place(tmp_path: Path) -> None:
    """Also after the segment was followed by others."""
    writer = _writer(tmp_path, segment_bytes=1)
    places = [writer.append([each], START, durable=True)[0] for each in (ONE, TWO)]
    writer.close()
    assert segments_in(tmp_path) == [1, 2]
    found = [read_record(tmp_path, place) for place in places]
    assert [each.record for each in found if each] == [Confirmed((1,)), Confirmed((2,))]


def test_a_damaged_record_is_not_read(tmp_path: Path) -> None:
    """Nothing is better than wrong bytes."""
    writer = _writer(tmp_path)
    [place] = writer.append([ONE], START, durable=True)
    writer.close()
    path = path_of(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:-1] + b"\xee")
    assert read_record(tmp_path, place) is None


def test_every_step_is_synced_before_it_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """START with its file, its name with the directory, then each durable group; a lazy one waits for the next sync."""
    synced: list[str] = []
    fdatasync, fsync = os.fdatasync, os.fsync

    def _sync_file(file: int) -> None:
        synced.append("file")
        fdatasync(file)

    def _sync_directory(file: int) -> None:
        synced.append("directory")
        fsync(file)

    monkeypatch.setattr(os, "fdatasync", _sync_file)
    monkeypatch.setattr(os, "fsync", _sync_directory)
    writer = _writer(tmp_path)
    writer.append([ONE], START, durable=True)
    assert synced == ["file", "directory", "file"]
    writer.append([ONE], START, durable=False)
    assert len(synced) == 3
    writer.close()
    assert synced[3:] == ["file"]


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_a_refused_group_ends_the_segment_and_the_next_one_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """What the refused write may have left is cut off; should it come back, the next START disowns it."""
    writer = _writer(tmp_path)
    writer.append([ONE], START, durable=True)
    good_bytes = path_of(tmp_path, 1).stat().st_size
    with monkeypatch.context() as patch:
        patch.setattr(os, call, _no_space)
        with pytest.raises(OSError, match="No space"):
            writer.append([TWO], START, durable=True)
    assert path_of(tmp_path, 1).stat().st_size == good_bytes
    writer.append([TWO], START, durable=True)
    writer.close()
    first, second = scan(path_of(tmp_path, 2).read_bytes())
    assert isinstance(first.record, Start)
    assert first.record.ended == {1: good_bytes}
    assert second.record == Confirmed((2,))


def test_an_ended_segment_forgets_what_was_written_lazily(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that no fsync covered may be missing after a power loss, so the end lies before them."""
    writer = _writer(tmp_path)
    writer.append([ONE], START, durable=True)
    good_bytes = path_of(tmp_path, 1).stat().st_size
    writer.append([ONE], START, durable=False)
    monkeypatch.setattr(os, "fdatasync", _no_space)
    with pytest.raises(OSError, match="No space"):
        writer.append([TWO], START, durable=True)
    assert writer.ended == {1: good_bytes}


def test_a_segment_is_set_aside_as_long_as_the_copy_holds_all_of_it(tmp_path: Path) -> None:
    """A torn end may go from the original; new damage is not in the copy."""
    path = path_of(tmp_path, 1)
    path.write_bytes(b"damaged, torn")
    assert not is_set_aside(tmp_path, 1)
    set_aside(tmp_path, 1)
    path.write_bytes(b"damaged")
    assert is_set_aside(tmp_path, 1)
    path.write_bytes(b"damaged again")
    assert not is_set_aside(tmp_path, 1)


def test_a_full_disk_leaves_no_heap_of_empty_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment in which nothing was ever believed is deleted again."""
    writer = _writer(tmp_path)
    monkeypatch.setattr(os, "fdatasync", _no_space)
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            writer.append([ONE], START, durable=True)
    assert segments_in(tmp_path) == []


def _no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
