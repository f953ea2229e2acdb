"""Batcher: decides where an envelope ends. Pure: it is told the time, holds lines, and does nothing else.

Per lane it holds what is in no envelope yet: durable, or just being made so. `due` proposes envelopes from the front and
`forget` removes what was cut once that is durable. Of a failed commit only what came with it is undone, by `take_back`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from omni_etl.envelope import LANES, Lane

RATIO_AT_FIRST: Final = 0.3  # compressed to raw bytes; events were 0.06 to 0.09, so the first envelopes are small
RATIO_MARGIN: Final = 1.1  # an envelope too big is packed twice, one a little small costs nothing
RATIO_WEIGHT: Final = 0.2
HEADER_BYTES: Final = 2_500  # all 27 types in one header
CUTS_AT_ONCE_MIN: Final = 4  # of one lane in one commit, so that no producer waits long behind packing

Runs = Collection[tuple[str, list[bytes]]]
"""Lines in the order of their numbers, as runs of one event type."""


@dataclass(frozen=True, slots=True)
class CutLimits:
    """When an envelope is full, or old enough."""

    envelope_bytes: int
    envelope_events_max: int
    bulk_age_seconds: float
    express_age_seconds: float
    express_age_idle_seconds: float
    express_busy_events_per_second: float
    heartbeat_seconds: float


@dataclass(frozen=True, slots=True)
class Cut:
    """The next `count` events of a lane, as one envelope. None at all: a sign of life, or the last word of a lane."""

    lane: Lane
    runs: Runs = ()
    closing: bool = False
    first: int | None = None  # the number of its first event, where that is not simply the next: behind damage

    @property
    def count(self) -> int:
        """Events in it."""
        return sum(len(lines) for _, lines in self.runs)


@dataclass(slots=True)
class _Chunk:
    """Runs that came together."""

    runs: deque[tuple[str, list[bytes]]]
    count: int
    raw_bytes: int
    since: float


def rest_of(runs: Runs, *, skip: int) -> Iterator[tuple[str, list[bytes]]]:
    """The runs behind the first `skip` lines."""
    for type_name, lines in runs:
        if skip < len(lines):
            yield type_name, lines[skip:] if skip else lines
        skip = max(0, skip - len(lines))


class _LaneHeld:
    """What one lane holds, and how well its lines compress."""

    def __init__(self) -> None:
        self.chunks: deque[_Chunk] = deque()
        self.count = 0
        self.raw_bytes = 0
        self.ratio = RATIO_AT_FIRST
        self.lessons = 0

    def learn(self, raw_bytes: int, packed_bytes: int) -> None:
        self.lessons += 1
        self.ratio += max(RATIO_WEIGHT, 1 / self.lessons) * (packed_bytes / raw_bytes - self.ratio)

    def front(self, *, skip: int) -> Iterator[tuple[str, list[bytes]]]:
        for chunk in self.chunks:
            if skip >= chunk.count:
                skip -= chunk.count
                continue
            yield from rest_of(chunk.runs, skip=skip)
            skip = 0

    def forget(self, count: int) -> None:
        self.count -= count
        while count:
            chunk = self.chunks[0]
            if chunk.count <= count:
                count -= chunk.count
                self.raw_bytes -= chunk.raw_bytes
                self.chunks.popleft()
            else:
                self._forget_front(chunk, count)
                return

    def _forget_front(self, chunk: _Chunk, count: int) -> None:
        gone_bytes = 0
        chunk.count -= count
        while count:
            type_name, lines = chunk.runs.popleft()
            gone_bytes += sum(map(len, lines[:count])) + min(count, len(lines))
            if len(lines) > count:
                chunk.runs.appendleft((type_name, lines[count:]))
            count -= min(count, len(lines))
        chunk.raw_bytes -= gone_bytes
        self.raw_bytes -= gone_bytes


class Batcher:
    """Both lanes of one hose."""

    def __init__(self, limits: CutLimits, *, now: float) -> None:
        self._limits = limits
        self._lanes: dict[Lane, _LaneHeld] = {"express": _LaneHeld(), "bulk": _LaneHeld()}
        self._rate = 0.0  # suppressing events a second, smoothed over one second
        self._rate_at = now
        self._quiet_since = now

    def add(self, lane: Lane, runs: Runs, *, now: float) -> None:
        """Hold lines that are durable, or will be with the next commit."""
        count = sum(len(lines) for _, lines in runs)
        raw_bytes = _raw_bytes(runs)
        held = self._lanes[lane]
        held.chunks.append(_Chunk(deque(runs), count, raw_bytes, now))
        held.count += count
        held.raw_bytes += raw_bytes
        if lane == "express":
            self._rate = self._rate_now(now) + count
            self._rate_at = now

    def take_back(self, lane: Lane) -> None:
        """What was added last is not durable after all."""
        held = self._lanes[lane]
        chunk = held.chunks.pop()
        held.count -= chunk.count
        held.raw_bytes -= chunk.raw_bytes

    def due(self, now: float, *, everything: bool = False) -> list[Cut]:
        """The envelopes to cut now, in the order of their events; the same again until `forget`."""
        cuts = [cut for lane in LANES for cut in self._due_in(lane, now, everything=everything)]
        if not cuts and now >= self._quiet_since + self._limits.heartbeat_seconds:
            cuts.append(Cut("bulk"))
        return cuts

    def due_at(self, now: float) -> float:
        """When `due` will next have something, if nothing is added."""
        at = self._quiet_since + self._limits.heartbeat_seconds
        for lane, held in self._lanes.items():
            if held.chunks:
                at = min(at, now if self._is_full(held) else held.chunks[0].since + self._age_seconds(lane, now))
        return at

    def forget(self, lane: Lane, count: int, *, now: float) -> None:
        """These events are in a durable envelope."""
        self._lanes[lane].forget(count)
        if lane == "bulk":
            self._quiet_since = now

    def learn(self, lane: Lane, *, raw_bytes: int, packed_bytes: int) -> None:
        """How an envelope came out."""
        if raw_bytes:
            self._lanes[lane].learn(raw_bytes, packed_bytes)

    @property
    def count(self) -> int:
        """Events held."""
        return sum(held.count for held in self._lanes.values())

    @property
    def raw_bytes(self) -> int:
        """Bytes of lines held."""
        return sum(held.raw_bytes for held in self._lanes.values())

    def _due_in(self, lane: Lane, now: float, *, everything: bool) -> list[Cut]:
        held = self._lanes[lane]
        cuts: list[Cut] = []
        taken = taken_bytes = 0
        old = bool(held.chunks) and now >= held.chunks[0].since + self._age_seconds(lane, now)
        at_once = max(CUTS_AT_ONCE_MIN, self._full_count(held) // 2)  # a backlog halves with every commit
        while taken < held.count and (everything or len(cuts) < at_once):
            if not (everything or (old and not cuts) or self._is_full(held, taken, taken_bytes)):
                break
            cut, cut_bytes = self._front(lane, skip=taken)
            cuts.append(cut)
            taken += cut.count
            taken_bytes += cut_bytes
        return cuts

    def _front(self, lane: Lane, *, skip: int) -> tuple[Cut, int]:
        """As many events as fill one envelope by our estimate, and their bytes; at least one."""
        held = self._lanes[lane]
        bytes_max = bytes_left = self._raw_bytes_max(held)
        count_left = self._limits.envelope_events_max
        runs: list[tuple[str, list[bytes]]] = []
        for type_name, lines in held.front(skip=skip):
            size_bytes = _size_bytes(lines)
            fit = min(len(lines), count_left, _fit(len(lines), size_bytes, bytes_left) or (0 if runs else 1))
            if not fit:
                break
            runs.append((type_name, lines[:fit]))
            count_left -= fit
            bytes_left -= size_bytes if fit == len(lines) else _size_bytes(runs[-1][1])
            if fit < len(lines):
                break
        return Cut(lane, runs), bytes_max - bytes_left

    def _is_full(self, held: _LaneHeld, taken: int = 0, taken_bytes: int = 0) -> bool:
        enough_bytes = held.raw_bytes - taken_bytes >= self._raw_bytes_max(held)
        return enough_bytes or held.count - taken >= self._limits.envelope_events_max

    def _full_count(self, held: _LaneHeld) -> int:
        """Full envelopes in what is held, by our estimate."""
        return max(held.raw_bytes // self._raw_bytes_max(held), held.count // self._limits.envelope_events_max)

    def _raw_bytes_max(self, held: _LaneHeld) -> int:
        room = max(self._limits.envelope_bytes - HEADER_BYTES, self._limits.envelope_bytes // 2)
        return int(room / (held.ratio * RATIO_MARGIN))

    def _age_seconds(self, lane: Lane, now: float) -> float:
        if lane == "bulk":
            return self._limits.bulk_age_seconds
        busy = self._rate_now(now) > self._limits.express_busy_events_per_second
        return self._limits.express_age_seconds if busy else self._limits.express_age_idle_seconds

    def _rate_now(self, now: float) -> float:
        return self._rate * math.exp(self._rate_at - now)


def _raw_bytes(runs: Runs) -> int:
    return sum(_size_bytes(lines) for _, lines in runs)


def _size_bytes(lines: Sequence[bytes]) -> int:
    return sum(map(len, lines)) + len(lines)


def _fit(count: int, size_bytes: int, bytes_left: int) -> int:
    """How many of these lines fit, taking them as equally long: the estimate is rough anyway, and packing checks it."""
    return min(count, max(0, bytes_left * count // size_bytes))
