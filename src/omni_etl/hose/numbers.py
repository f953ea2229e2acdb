"""Numbers: how far each lane of a hose has come. Immutable, so that a failed commit leaves no trace."""

from __future__ import annotations

from typing import Self

import msgspec

from omni_etl.envelope import LANES, Lane


class LaneNumbers(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Events and envelopes of one lane, both counted from 1; only a damaged spool leaves gaps."""

    seq: int = 0  # the last envelope cut
    accepted_to: int = 0  # the last event accepted
    cut_to: int = 0  # the last event in an envelope
    closed: bool = False  # the closing envelope is cut; there will be no other


class HoseNumbers(msgspec.Struct, frozen=True):
    """Both lanes of one hose_id."""

    express: LaneNumbers = LaneNumbers()
    bulk: LaneNumbers = LaneNumbers()

    def lane(self, lane: Lane) -> LaneNumbers:
        """One of them."""
        return self.express if lane == "express" else self.bulk

    @property
    def last_seq(self) -> dict[str, int]:
        """The last envelope cut in each lane."""
        return {lane: self.lane(lane).seq for lane in LANES}

    @property
    def accepted_count(self) -> int:
        """Events accepted, both lanes."""
        return self.express.accepted_to + self.bulk.accepted_to

    @property
    def closed(self) -> bool:
        """Both lanes are closed: nothing will ever be said under this hose_id again."""
        return self.express.closed and self.bulk.closed

    def accept(self, lane: Lane, last: int) -> Self:
        """After events up to `last` were accepted."""
        return self._with(lane, msgspec.structs.replace(self.lane(lane), accepted_to=last))

    def cut(self, lane: Lane, *, seq: int, events_to: int, closing: bool) -> Self:
        """After an envelope was cut."""
        before = self.lane(lane)
        closed = before.closed or closing
        return self._with(lane, msgspec.structs.replace(before, seq=seq, cut_to=events_to, closed=closed))

    def owe(self, lane: Lane, first: int) -> Self:
        """After it was found that events from `first` on are in no envelope: the lane is open again for them."""
        before = self.lane(lane)
        return self._with(lane, msgspec.structs.replace(before, cut_to=min(before.cut_to, first - 1), closed=False))

    def skip(self, count: int) -> Self:
        """After up to `count` envelopes may have been cut of which nothing is known."""
        return type(self)(*(msgspec.structs.replace(lane, seq=lane.seq + count) for lane in (self.express, self.bulk)))

    def _with(self, lane: Lane, numbers: LaneNumbers) -> Self:
        return msgspec.structs.replace(self, **{lane: numbers})
