"""Owed: what a hose accepted and never cut, and the last envelopes that bring it out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from omni_etl.envelope import LANES, Lane
from omni_etl.hose.batcher import Batcher, Cut, CutLimits, Runs
from omni_etl.hose.numbers import HoseNumbers
from omni_etl.hose.records import Accepted, Block, unpack_lines
from omni_etl.hose.seal import Order
from omni_etl.hose.segments import read_record


class Span(NamedTuple):
    """Consecutive events of one record."""

    first: int
    last: int
    place: int


@dataclass(slots=True)
class Owed:
    """The events of one lane of one hose_id that are in no envelope, in the order of their numbers.

    A damaged record leaves a hole in the numbers, so an envelope takes away exactly its own events: those before it
    may have been in an envelope that never became durable.
    """

    spans: deque[Span] = field(default_factory=deque)

    def accept(self, span: Span) -> None:
        """These came last."""
        self.spans.append(span)

    def cut(self, first: int, last: int) -> None:
        """These are in an envelope."""
        kept: list[Span] = []
        while self.spans and self.spans[0].first <= last:
            span = self.spans.popleft()
            if span.first < first:
                kept.append(span._replace(last=min(span.last, first - 1)))
            if span.last > last:
                kept.append(span._replace(first=max(span.first, last + 1)))
        self.spans.extendleft(reversed(kept))


def last_orders(
    directory: Path, owed: dict[tuple[str, Lane], Owed], *, hoses: dict[str, HoseNumbers], limits: CutLimits
) -> list[Order]:
    """The last envelopes of earlier hose_ids: what each owes, and its closing ones."""
    orders: list[Order] = []
    for hose_id, numbers in hoses.items():
        for lane in LANES:
            of_lane = owed.get((hose_id, lane), Owed())
            cuts = _last_cuts(directory, of_lane, hose_id=hose_id, lane=lane, limits=limits)
            orders.extend(Order(hose_id, cut) for cut in cuts)
        closing = [Cut(lane, closing=True) for lane in LANES if not numbers.lane(lane).closed]
        orders.extend(Order(hose_id, cut) for cut in closing)
    return orders


def owed_runs(directory: Path, owed: Owed, *, hose_id: str, lane: Lane) -> Iterator[tuple[int, Runs]]:
    """The lines of each span, as runs of one type, with the number of the first."""
    for span in owed.spans:
        framed = read_record(directory, span.place)
        assert framed is not None, span  # read whole a moment ago
        assert isinstance(framed.record, Accepted), span
        assert framed.record.hose_id == hose_id, span
        for block in framed.record.blocks:
            if block.lane == lane:
                yield span.first, _runs_of(block, span)


def _last_cuts(directory: Path, owed: Owed, *, hose_id: str, lane: Lane, limits: CutLimits) -> Iterator[Cut]:
    for first, runs in _unbroken(directory, owed, hose_id=hose_id, lane=lane):
        batcher = Batcher(limits, now=0)
        batcher.add(lane, runs, now=0)
        at = first
        for cut in batcher.due(0, everything=True):
            yield Cut(lane, cut.runs, first=at)
            at += cut.count


def _unbroken(directory: Path, owed: Owed, *, hose_id: str, lane: Lane) -> Iterator[tuple[int, Runs]]:
    """Spans that follow one another without a hole, together: an envelope has room for none."""
    first = following = 0
    together: list[tuple[str, list[bytes]]] = []
    for at, runs in owed_runs(directory, owed, hose_id=hose_id, lane=lane):
        if together and at != following:
            yield first, together
            together = []
        first = first if together else at
        together.extend(runs)
        following = at + sum(len(lines) for _, lines in runs)
    if together:
        yield first, together


def _runs_of(block: Block, span: Span) -> Sequence[tuple[str, list[bytes]]]:
    lines = unpack_lines(block)
    runs: list[tuple[str, list[bytes]]] = []
    start = block.first
    for run in block.runs:
        first, last = max(start, span.first), min(start + run.count - 1, span.last)
        if first <= last:
            runs.append((run.type, lines[first - block.first : last - block.first + 1]))
        start += run.count
    return runs
