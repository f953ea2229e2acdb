"""Recovery: read what earlier starts left in the spool, believe what is whole, and say what is still owed.

Only the last segment may end in a torn record: that is what a crash leaves, nothing in it was acknowledged, and it is
cut off. A record that is not whole elsewhere, or with whole ones behind it, is a failing disk: a copy is set aside,
someone is called, and reading goes on behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from omni_etl.envelope import Lane, open_header
from omni_etl.hose.numbers import HoseNumbers
from omni_etl.hose.owed import Owed, Span
from omni_etl.hose.records import (
    Accepted,
    Answered,
    Confirmed,
    Cut,
    Framed,
    Record,
    Start,
    cuts_in_damage_max,
    next_whole,
    scan,
)
from omni_etl.hose.segments import (
    cut_off,
    is_set_aside,
    path_of,
    place_of,
    read_record,
    remove,
    segment_of,
    segments_in,
    set_aside,
    sync,
    sync_directory,
)
from omni_etl.telemetry import get_logger

Remember = Callable[[Sequence[Answered]], None]


@dataclass(slots=True)
class SegmentContent:
    """Why a segment must stay."""

    size_bytes: int = 0
    unsent_count: int = 0
    accepted_to: dict[tuple[str, Lane], int] = field(default_factory=dict)  # the last event of each lane in it


class _Read(NamedTuple):
    """A record and where it stands."""

    segment: int
    framed: Framed


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
    group: list[_Read] = field(default_factory=list)  # accepting cuts whose ACCEPTED was not read yet

    def skip_cuts(self, count: int) -> None:
        """So many numbers may have been used: one used twice would name two envelopes. A later cut knows better."""
        self.hoses = {hose_id: numbers.skip(count) for hose_id, numbers in self.hoses.items()}


def read_history(directory: Path, remember: Remember) -> History:
    """Read every segment, hand the answered requests to `remember`, and cut off a torn end."""
    history = History()
    segments = _begun_segments(directory, history)
    for segment in segments:
        _read_segment(history, directory, segment, remember, last=segment == segments[-1])
    for (hose_id, lane), owed in history.owed.items():
        if owed.spans and hose_id in history.hoses:
            history.hoses[hose_id] = history.hoses[hose_id].owe(lane, owed.spans[0].first)
    return history


def _begun_segments(directory: Path, history: History) -> list[int]:
    """The segments that have a beginning; what STARTs say of earlier ones is gathered before those are read."""
    segments = segments_in(directory)
    history.next_segment = max(segments, default=0) + 1
    begun = []
    for segment in segments:
        first = read_record(directory, place_of(segment, 0))
        if first is not None and isinstance(first.record, Start):
            history.ended.update(first.record.ended)
        if first is not None or (path_of(directory, segment).stat().st_size and segment != segments[-1]):
            begun.append(segment)
        elif next_whole(path_of(directory, segment).read_bytes(), 0) is not None:
            begun.append(segment)  # its START is damaged, not torn
    begun = [segment for segment in begun if history.ended.get(segment) != 0]
    for segment in set(segments) - set(begun):
        history.cut_off_bytes += remove(directory, segment)
    sync_directory(directory)
    return begun


def _read_segment(history: History, directory: Path, segment: int, remember: Remember, *, last: bool) -> None:
    if last:
        # Its writer may have been killed before its fsync, and what is sent or remembered of it must survive the power.
        sync(directory, segment)
    content = path_of(directory, segment).read_bytes()[: history.ended.get(segment)]
    history.segments[segment] = SegmentContent()
    damage: list[tuple[int, int]] = []
    read_to = _read_records(history, segment, scan(content), remember)
    while read_to < len(content) and (whole := next_whole(content, read_to)) is not None:
        damage.append((read_to, whole))
        history.skip_cuts(cuts_in_damage_max(content, read_to, whole))
        read_to = _read_records(history, segment, scan(content, whole), remember)
    if last and history.group:  # its ACCEPTED, or a cut of it, never reached the disk: nobody was answered
        read_to = history.group[0].framed.offset
        history.skip_cuts(len(history.group) if damage else 0)
        history.group.clear()
    if read_to < len(content) and last:
        history.cut_off_bytes += len(content) - read_to
    elif read_to < len(content):
        damage.append((read_to, len(content)))
    if damage and not is_set_aside(directory, segment):
        copy = set_aside(directory, segment)
        get_logger().error(
            "hose_spool_damaged",
            segment=segment,
            offset=damage[0][0],
            damaged_bytes=sum(end - start for start, end in damage),
            copy=str(copy),
        )
    if read_to < len(content):
        cut_off(directory, segment, read_to)
    history.segments[segment].size_bytes = read_to


def _read_records(history: History, segment: int, records: Iterable[Framed], remember: Remember) -> int:
    read_to = 0
    for framed in records:
        read_to = framed.end
        if history.group and isinstance(history.group[-1].framed.record, Accepted):
            _believe(history, remember)  # a later group follows, so this one was answered: what is whole of it counts
        if _waits(history, framed.record):
            history.group.append(_Read(segment, framed))
        else:
            _believe(history, remember)
            _read_record(history, segment, framed, remember)
    return read_to


def _waits(history: History, record: Record) -> bool:
    """Whether a record counts only with others of its group: accepting cuts with their ACCEPTED, and it with all of them."""
    if isinstance(record, Cut):
        return record.accepts
    return isinstance(record, Accepted) and len(history.group) < record.cuts


def _believe(history: History, remember: Remember) -> None:
    group, history.group = history.group, []
    for segment, framed in group:
        _read_record(history, segment, framed, remember)


def _read_record(history: History, segment: int, framed: Framed, remember: Remember) -> None:
    match framed.record:
        case Start():
            _read_start(history, framed.record)
        case Accepted():
            _read_accepted(history, segment, framed.offset, framed.record)
            remember(framed.record.requests)
        case Cut():
            _read_cut(history, segment, framed)
        case Confirmed():
            for place in framed.record.places:
                if history.unsent.pop(place, None) is not None:
                    history.segments[segment_of(place)].unsent_count -= 1


def _read_start(history: History, start: Start) -> None:
    """It knows better than what stands before it, of which some may be damaged.

    What it calls cut was cut, and a hose it does not name is closed.
    """
    history.hoses = dict(start.hoses)
    for (hose_id, lane), owed in history.owed.items():
        numbers = history.hoses.get(hose_id)
        if numbers is None:
            owed.spans.clear()
        else:
            owed.cut(1, numbers.lane(lane).cut_to)


def _read_accepted(history: History, segment: int, offset: int, accepted: Accepted) -> None:
    for block in accepted.blocks:
        lane = (accepted.hose_id, block.lane)
        numbers = history.hoses.get(accepted.hose_id, HoseNumbers())
        history.hoses[accepted.hose_id] = numbers.accept(block.lane, block.last)
        history.owed.setdefault(lane, Owed()).accept(Span(block.first, block.last, place_of(segment, offset)))
        history.segments[segment].accepted_to[lane] = block.last


def _read_cut(history: History, segment: int, framed: Framed) -> None:
    cut = framed.record
    assert isinstance(cut, Cut)
    numbers = history.hoses.get(cut.hose_id, HoseNumbers())
    if cut.accepts:
        numbers = numbers.accept(cut.lane, cut.events_to)
    history.hoses[cut.hose_id] = numbers.cut(cut.lane, seq=cut.seq, events_to=cut.events_to, closing=cut.closing)
    first = cut.events_to - open_header(cut.header).event_count + 1
    history.owed.setdefault((cut.hose_id, cut.lane), Owed()).cut(first, cut.events_to)
    history.unsent[place_of(segment, framed.offset)] = cut.lane
    history.segments[segment].unsent_count += 1
