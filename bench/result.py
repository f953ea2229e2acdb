"""Result: the runs of one row, and how rows compare. Medians, because a machine has good and bad minutes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.row import Row, Skipped


@dataclass(frozen=True, slots=True)
class Result:
    """One row after all its rounds. Where it was skipped there are no runs, but a reason."""

    key: str
    runs: Sequence[Row] = ()
    skipped: Skipped | None = None
    bare: str = ""

    @property
    def name(self) -> str:
        """For people."""
        return self.skipped.name if self.skipped is not None else self.runs[0].name

    @property
    def typical(self) -> Row | None:
        """The run in the middle; of an even number the slower of both."""
        ordered = sorted(self.runs, key=lambda row: row.events_per_second)
        return ordered[(len(ordered) - 1) // 2] if ordered else None

    @property
    def rates(self) -> list[float]:
        """Of each run, in order of time."""
        return [row.events_per_second for row in self.runs]


Results = Mapping[str, Result]
"""By key, in the order of the table."""


def ratio(ours: Result, theirs: Result | None) -> float | None:
    """How many times as fast; round by round where both took turns, so that a bad minute hits both."""
    if theirs is None or not ours.runs or not theirs.runs:
        return None
    if len(ours.runs) == len(theirs.runs):
        return median(mine / its for mine, its in zip(ours.rates, theirs.rates, strict=True))
    return median(ours.rates) / median(theirs.rates)
