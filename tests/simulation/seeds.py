"""Many seeds, and every mutant, on all processors; each run is judged where it ran."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Final, TypeVar

from tests.simulation.mutants import MUTANTS
from tests.simulation.oracle import Verdict, judge
from tests.simulation.way import lived

RUNS_PER_PROCESS: Final = 100  # what a run leaves in memory goes with its process
MUTANT_SEEDS_MAX: Final = 200  # until a mutant counts as not seen
TEXT_CHARACTERS_MAX: Final = 4_000

Work = TypeVar("Work")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Tried:
    """One seed's end; without a verdict it did not come to one, and `text` says why."""

    seed: int
    verdict: Verdict | None
    text: str = ""
    kinds: dict[str, int] = field(default_factory=dict)  # of faults

    @property
    def ok(self) -> bool:
        """Every promise held."""
        return self.verdict is not None and self.verdict.ok

    @property
    def what(self) -> str:
        """What was wrong, in a line."""
        if self.verdict is None:
            return self.text.strip().splitlines()[-1][:200]
        found = [f"lost {self.verdict.lost}, doubled {self.verdict.doubled}", *self.verdict.wrong]
        return "; ".join(found)[:200]


@dataclass(frozen=True, slots=True)
class Caught:
    """Where a mutant was seen first; None: nowhere."""

    mutant: str
    tried: Tried | None


def try_seed(seed: int) -> Tried:
    """Run it, and judge."""
    try:
        with lived(seed) as way:
            return Tried(seed, judge(way), kinds=dict(way.faults.counted))
    except (Exception, SystemExit):  # noqa: BLE001 a finding, with its seed
        return Tried(seed, None, traceback.format_exc()[-TEXT_CHARACTERS_MAX:])


def try_mutant(name: str) -> Caught:
    """The first seed that sees it, and would see nothing without it."""
    for seed in range(MUTANT_SEEDS_MAX):
        with MUTANTS[name]():
            tried = try_seed(seed)
        if not tried.ok and try_seed(seed).ok:
            return Caught(name, tried)
    return Caught(name, None)


def try_seeds(seeds: Iterable[int]) -> Iterator[Tried]:
    """In their order."""
    return _everywhere(try_seed, seeds)


def try_mutants() -> Iterator[Caught]:
    """All of them."""
    return _everywhere(try_mutant, MUTANTS)


def _everywhere(work: Callable[[Work], Found], those: Iterable[Work]) -> Iterator[Found]:
    with get_context("spawn").Pool(os.cpu_count(), maxtasksperchild=RUNS_PER_PROCESS) as pool:
        yield from pool.imap(work, those)
