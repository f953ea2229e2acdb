"""Tracker in memory: for tests, the simulation, and a parent that needs no second one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from omni_etl.clock import Clock
from omni_etl.tracker import TOMBSTONE_SECONDS, WORK_SECONDS, Mark, Progress


@dataclass(slots=True)
class _Remembered:
    until: float
    marks: dict[str, Mark] = field(default_factory=dict)
    settled: bool = False


class MemoryTracker:
    """Like the real one: keys end by the clock, another epoch sees nothing, a restart forgets everything."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._epoch = ""
        self._remembered: dict[tuple[str, str], _Remembered] = {}

    async def open(self, epoch: str) -> None:
        """See only marks of this epoch."""
        self._epoch = epoch

    async def close(self) -> None:
        """Nothing to give back; what was remembered stays, as in a server."""

    async def ask(self, keys: Sequence[str]) -> list[Progress]:
        """What is remembered, in the order of `keys`; renews what is in work."""
        return [self._ask(key) for key in keys]

    async def mark(self, key: str, service: str, mark: Mark, owed: frozenset[str]) -> frozenset[str]:
        """Note one mark and answer which of `owed` have none yet. Nothing is missing once buried."""
        found = self._find(key)
        if found is None:
            found = self._remembered[self._epoch, key] = _Remembered(until=0.0)
        if found.settled:
            return frozenset()
        found.marks[service] = mark
        found.until = self._clock.monotonic() + WORK_SECONDS
        return owed - found.marks.keys()

    async def bury(self, keys: Sequence[str]) -> None:
        """Put a tombstone in place of the marks, for an hour."""
        until = self._clock.monotonic() + TOMBSTONE_SECONDS
        for key in keys:
            self._remembered[self._epoch, key] = _Remembered(until=until, settled=True)

    def forget(self) -> None:
        """Lose everything, as a tracker may at any time."""
        self._remembered.clear()

    def _ask(self, key: str) -> Progress:
        found = self._find(key)
        if found is None:
            return Progress(marks={}, settled=False)
        if not found.settled:
            found.until = self._clock.monotonic() + WORK_SECONDS
        return Progress(marks=dict(found.marks), settled=found.settled)

    def _find(self, key: str) -> _Remembered | None:
        found = self._remembered.get((self._epoch, key))
        if found is not None and found.until <= self._clock.monotonic():
            del self._remembered[self._epoch, key]
            return None
        return found
