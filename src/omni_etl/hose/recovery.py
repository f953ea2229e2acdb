"""Recovery: read what earlier starts left in the spool, believe what is whole, and say what is still owed.

Only the last segment may end in a torn record: that is what a crash leaves, nothing in it was acknowledged, and it is
cut off. A record damaged elsewhere is a failing disk: a copy is set aside, someone is called, and the other segments
are read as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omni_etl.envelope import Lane
from omni_etl.hose.numbers import HoseNumbers
from omni_etl.hose.records import Accepted, Answered, Block, Confirmed, Cut, Framed, Start, scan, unpack_lines
from omni_etl.hose.segments import (
    cut_off,
    path_of,
    place_of,
    read_record,
    remove,
    segment_of,
    segments_in,
    set_aside,
    sync_directory,
)
from omni_etl.telemetry import get_logger

Remember = Callable[[Sequence[Answered]], None]


@dataclass(slots=True)
class Owed:
    """Accepted and in no envelope yet: the blocks of one lane of one hose_id that reach beyond its last cut."""

    spans: list[tuple[int, int]] = field(default_factory=list)  # (last event, place of its record), oldest first

    def cut(self, events_to: int) -> None:
        """Everything up to this event is in an envelope."""
        self.spans = [span for span in self.spans if span[0] > events_to]


@dataclass(slots=True)
class SegmentContent:
    """Why a segment must stay."""

    size_bytes: int = 0
    unsent_count: int = 0
    accepted_to: dict[tuple[str, Lane], int] = field(default_factory=dict)  # the last event of each lane in it


@dataclass(slots=True)
class History:
    """All that the spool says."""

    hoses: dict[str, HoseNumbers] = field(default_factory=dict)
    owed: dict[tuple[str, Lane], Owed] = field(default_factory=dict)
    unsent: dict[int, Lane] = field(default_factory=dict)  # place of a cut → its lane, oldest first
    segments: dict[int, SegmentContent] = field(default_factory=dict)
    next_segment: int = 1
    ended: dict[int, int] = field(default_factory=dict)
    cut_off_bytes: int = 0


def read_history(directory: Path, remember: Remember) -> History:
    """Read every segment, hand the answered requests to `remember`, and cut off a torn end."""
    history = History()
    segments = _begun_segments(directory, history)
    for segment in segments:
        content = path_of(directory, segment).read_bytes()
        end = history.ended.get(segment, len(content))
        read_to = _read_segment(history, segment, content[:end], remember)
        if read_to < end:
            _not_whole(history, directory, segment, read_to=read_to, last=segment == segments[-1])
        history.segments[segment].size_bytes = len(content)
    return history


def owed_lines(directory: Path, owed: Owed, *, hose_id: str, lane: Lane, after: int) -> list[tuple[str, list[bytes]]]:
    """The lines of one lane that no envelope holds, as runs of one type, in the order of their numbers."""
    runs: list[tuple[str, list[bytes]]] = []
    for _, place in owed.spans:
        framed = read_record(directory, place)
        assert framed is not None, place  # read whole a moment ago
        assert isinstance(framed.record, Accepted), place
        for block in framed.record.blocks:
            if framed.record.hose_id == hose_id and block.lane == lane:
                runs.extend(_runs_after(block, after))
    return runs


def _begun_segments(directory: Path, history: History) -> list[int]:
    """The segments that have a beginning; what STARTs say of earlier ones is gathered before those are read."""
    segments = segments_in(directory)
    history.next_segment = max(segments, default=0) + 1
    begun = []
    for segment in segments:
        first = read_record(directory, place_of(segment, 0))
        if first is not None and isinstance(first.record, Start):
            history.ended.update(first.record.ended)
        if path_of(directory, segment).stat().st_size and (first is not None or segment != segments[-1]):
            begun.append(segment)
    begun = [segment for segment in begun if history.ended.get(segment) != 0]
    for segment in set(segments) - set(begun):
        history.cut_off_bytes += remove(directory, segment)
    sync_directory(directory)
    return begun


def _read_segment(history: History, segment: int, content: bytes, remember: Remember) -> int:
    history.segments[segment] = SegmentContent()
    read_to = 0
    for framed in scan(content):
        read_to = framed.end
        match framed.record:
            case Start():
                # It knows better than the records before it, of which some may be damaged: what it calls cut was cut,
                # and a hose it does not name is closed.
                history.hoses = dict(framed.record.hoses)
            case Accepted():
                _read_accepted(history, segment, framed.offset, framed.record)
                remember(framed.record.requests)
            case Cut():
                _read_cut(history, segment, framed)
            case Confirmed():
                for place in framed.record.places:
                    if history.unsent.pop(place, None) is not None:
                        history.segments[segment_of(place)].unsent_count -= 1
    return read_to


def _read_accepted(history: History, segment: int, offset: int, accepted: Accepted) -> None:
    for block in accepted.blocks:
        lane = (accepted.hose_id, block.lane)
        numbers = history.hoses.get(accepted.hose_id, HoseNumbers())
        history.hoses[accepted.hose_id] = numbers.accept(block.lane, block.last)
        history.owed.setdefault(lane, Owed()).spans.append((block.last, place_of(segment, offset)))
        history.segments[segment].accepted_to[lane] = block.last


def _read_cut(history: History, segment: int, framed: Framed) -> None:
    cut = framed.record
    assert isinstance(cut, Cut)
    numbers = history.hoses.get(cut.hose_id, HoseNumbers())
    history.hoses[cut.hose_id] = numbers.cut(cut.lane, seq=cut.seq, events_to=cut.events_to, closing=cut.closing)
    history.owed.setdefault((cut.hose_id, cut.lane), Owed()).cut(cut.events_to)
    history.unsent[place_of(segment, framed.offset)] = cut.lane
    history.segments[segment].unsent_count += 1


def _not_whole(history: History, directory: Path, segment: int, *, read_to: int, last: bool) -> None:
    size = path_of(directory, segment).stat().st_size
    if last:
        cut_off(directory, segment, read_to)
        history.cut_off_bytes += size - read_to
        return
    copy = set_aside(directory, segment)
    get_logger().error(
        "hose_spool_damaged", segment=segment, offset=read_to, set_aside_bytes=size - read_to, copy=str(copy)
    )
    cut_off(directory, segment, read_to)  # said once; the copy keeps the rest


def _runs_after(block: Block, after: int) -> list[tuple[str, list[bytes]]]:
    lines = unpack_lines(block)
    runs: list[tuple[str, list[bytes]]] = []
    start = 0
    for run in block.runs:
        skipped = min(run.count, max(0, after - (block.first + start) + 1))
        if skipped < run.count:
            runs.append((run.type, lines[start + skipped : start + run.count]))
        start += run.count
    return runs
