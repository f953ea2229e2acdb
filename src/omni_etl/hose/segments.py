"""Segments: the files of the spool. Written in one place, synced before anything in them is believed, never mended.

`NNNNNNNNNN.spool`, numbered upwards for ever. After a failed write or fsync a file is not touched again: what reached
the disk is unknown (an fsync that failed once may succeed the next time without having written). The next segment's
START says where the failed one ended.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from omni_etl.hose.records import HEAD_BYTES, Framed, Start, frame, unframe

SUFFIX: Final = ".spool"
_OFFSET_BITS: Final = 40  # a place is one number, because a backlog remembers a place for each envelope


def place_of(segment: int, offset: int) -> int:
    """Where a record stands, as one number."""
    return segment << _OFFSET_BITS | offset


def segment_of(place: int) -> int:
    """The segment of a place."""
    return place >> _OFFSET_BITS


def path_of(directory: Path, segment: int) -> Path:
    """The file of a segment."""
    return directory / f"{segment:010}{SUFFIX}"


def segments_in(directory: Path) -> list[int]:
    """The numbers of the segments there, oldest first."""
    return sorted(int(path.stem) for path in directory.glob(f"*{SUFFIX}") if path.stem.isdigit())


class SegmentWriter:
    """Appends groups of records. Blocking; one group at a time."""

    def __init__(self, directory: Path, *, next_segment: int, segment_bytes: int) -> None:
        self._directory = directory
        self._segment = next_segment - 1
        self._segment_bytes = segment_bytes
        self._file: int | None = None
        self._size = 0
        self._synced = 0
        self._holds_groups = False
        self.ended: dict[int, int] = {}  # segments that a failed write ended, and where

    def append(self, frames: Sequence[bytes], start: Start, *, durable: bool) -> list[int]:
        """Write a group and answer the place of each record; where `durable`, after its fsync.

        Raises:
            OSError: the disk refused. Nothing of the group counts, and the segment is ended.

        """
        if self._file is None or self._size >= self._segment_bytes:
            self._begin(start)
        assert self._file is not None
        try:
            places = self._write(frames)
            if durable:
                self._sync()
        except OSError:
            self._end(self._synced)
            raise
        self._holds_groups = True
        return places

    @property
    def segment(self) -> int:
        """The segment written last."""
        return self._segment

    def close(self) -> None:
        """Leave the current segment as a whole one."""
        if self._file is None:
            return
        try:
            if self._synced < self._size:
                self._sync()
        except OSError:
            self._end(self._synced)
            raise
        os.close(self._file)
        self._file = None

    def _begin(self, start: Start) -> None:
        self.close()
        self._segment += 1
        self._size = self._synced = 0
        self._holds_groups = False
        known = {segment: end for segment, end in self.ended.items() if path_of(self._directory, segment).exists()}
        start = Start(hose_id=start.hose_id, hoses=start.hoses, ended=known)
        path = path_of(self._directory, self._segment)
        try:
            self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            self._write([frame(start)])
            self._sync()
            sync_directory(self._directory)
        except OSError:
            self._end(0)
            raise

    def _write(self, frames: Sequence[bytes]) -> list[int]:
        assert self._file is not None
        places = []
        end = self._size
        for each in frames:
            places.append(place_of(self._segment, end))
            end += len(each)
        rest = memoryview(b"".join(frames))
        while rest:
            written = os.pwrite(self._file, rest, self._size)
            self._size += written
            rest = rest[written:]
        return places

    def _sync(self) -> None:
        assert self._file is not None
        os.fdatasync(self._file)
        self._synced = self._size

    def _end(self, offset: int) -> None:
        """Never write to this file again; what stands after `offset` was acknowledged to nobody."""
        self.ended[self._segment] = offset
        if self._file is None:
            return
        with contextlib.suppress(OSError):  # a kindness to whoever looks; `ended` is what counts
            os.ftruncate(self._file, offset)
        with contextlib.suppress(OSError):
            os.close(self._file)
        self._file = None
        if not self._holds_groups:
            # Tried every few seconds while a disk is full: leave no heap of empty files.
            with contextlib.suppress(OSError):
                path_of(self._directory, self._segment).unlink()


def read_record(directory: Path, place: int) -> Framed | None:
    """The record at a place, or None where it is damaged."""
    path, offset = path_of(directory, segment_of(place)), place & ((1 << _OFFSET_BITS) - 1)
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        head = file.read(HEAD_BYTES)
        if len(head) < HEAD_BYTES:
            return None
        size = int.from_bytes(head[1:5], "little")
        return unframe(head + file.read(min(size, path.stat().st_size)))


def set_aside(directory: Path, segment: int) -> Path:
    """Keep a copy of a damaged segment for whoever is called."""
    path = path_of(directory, segment)
    copy = path.with_suffix(".damaged")
    shutil.copyfile(path, copy)
    return copy


def is_set_aside(directory: Path, segment: int) -> bool:
    """Whether a copy holds all that is here: then it was said before."""
    path = path_of(directory, segment)
    copy = path.with_suffix(".damaged")
    return copy.exists() and copy.read_bytes().startswith(path.read_bytes())


def sync(directory: Path, segment: int) -> None:
    """Make what was read of a segment durable: whoever wrote it may have died before."""
    handle = os.open(path_of(directory, segment), os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def cut_off(directory: Path, segment: int, offset: int) -> None:
    """End a segment at `offset`, durably."""
    with path_of(directory, segment).open("rb+") as file:
        file.truncate(offset)
        os.fsync(file.fileno())


def remove(directory: Path, segment: int) -> int:
    """Delete a segment; answers how many bytes that freed."""
    path = path_of(directory, segment)
    size = path.stat().st_size
    path.unlink()
    return size


def sync_directory(directory: Path) -> None:
    """Make names in a directory durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
