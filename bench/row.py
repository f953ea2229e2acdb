"""Row: one line of the benchmark's table, and the error of a run whose counts do not agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class CountsError(Exception):
    """What landed is not what was sent: the run says nothing about speed."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one run of one arrangement showed. Every count in it was checked before it was made."""

    name: str
    events: int
    seconds: float
    events_per_second: float
    cpu_us_per_event: Mapping[str, float] = field(default_factory=dict)  # CPU microseconds an event, by process
    resident_mib_max: Mapping[str, float] = field(default_factory=dict)  # by process
    notes: str = ""
    figures: Mapping[str, float] = field(
        default_factory=dict
    )  # what only this row shows, under the name in results.json

    @property
    def cpu_us_per_event_total(self) -> float:
        """Of all processes together, those that only make the load or receive it included."""
        return sum(self.cpu_us_per_event.values())


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that did not run here, and why."""

    name: str
    reason: str
