"""`python -m tests.simulation`: what `make sim` runs.

Each run is decided by its seed alone, hashes included, so the program starts itself anew where Python salts them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable

from tests.simulation.seeds import Tried, try_mutants, try_seed, try_seeds


def main() -> int:
    """Run what is asked for; 1 where something was found, or a mutant was not."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many; the last line counts them")
    parser.add_argument("--first", type=int, default=0, help="where to begin")
    parser.add_argument("--seed", type=int, help="this one alone, with its faults")
    parser.add_argument("--mutants", action="store_true", help="the broken code instead: each must be seen")
    arguments = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        command = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    if arguments.mutants:
        return _hunt()
    if arguments.seed is not None:
        return _report([try_seed(arguments.seed)])
    return _report(try_seeds(range(arguments.first, arguments.first + arguments.seeds)))


def _hunt() -> int:
    missed = 0
    for each in try_mutants():
        if each.tried is None:
            missed += 1
        seen = "NOT SEEN" if each.tried is None else f"seed {each.tried.seed:3}  {each.tried.what}"
        print(f"{each.mutant:28} {seen}", flush=True)
    return 1 if missed else 0


def _report(tried: Iterable[Tried]) -> int:
    total = dict.fromkeys(("seeds", "events", "faults", "lost", "doubled"), 0)
    kinds: Counter[str] = Counter()
    failed = 0
    for each in tried:
        total["seeds"] += 1
        kinds.update(each.kinds)
        for name in ("events", "faults", "lost", "doubled"):
            total[name] += getattr(each.verdict, name, 0)
        if not each.ok:
            failed += 1
            print(f"seed {each.seed}: {each.verdict}\n{each.text}replay: make sim SEED={each.seed}", flush=True)
    print(*(f"{count:9} {kind}" for kind, count in sorted(kinds.items())), sep="\n")
    print(json.dumps(total, separators=(",", ":")))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
