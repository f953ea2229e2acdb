"""`make bench`: every row one after another, one table, docs/BENCHMARK.md and bench/results.json.

`python -m bench [--rows end_to_end,hose] [--rounds 3] [--quick] [--write] [--json]`. A part of it, or a quick one, is shown
and not written unless `--write` says so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from bench import afterwards
from bench.machine import shape
from bench.plan import FULL, GROUPS, QUICK, Scale, Task, in_order, tasks
from bench.report import PAGE, Findings, as_json, table, write
from bench.result import Result
from bench.row import CountsError, Row, Skipped
from bench.show import EXIT_FAILED, EXIT_INTERRUPTED, end_in_order, explain
from omni_etl.errors import OmniError


async def run(groups: Sequence[str], scale: Scale, console: Console) -> Findings:
    """Everything of these groups. Events are made before anything is timed."""
    with console.status("making events"):
        found = await asyncio.to_thread(tasks, scale, groups)
    results = await rows(found, rounds_count=scale.rounds, console=console)
    return Findings(results, shape(), await afterwards.run(groups, results, scale, console))


async def rows(found: Sequence[Task], *, rounds_count: int, console: Console) -> dict[str, Result]:
    """All rows. The first whose counts do not agree ends it.

    Raises:
        CountsError: names the row.

    """
    runs: dict[str, list[Row]] = {task.key: [] for task in found}
    skipped: dict[str, Skipped] = {}
    order = list(in_order(found, rounds_count))
    for number, (task, round_number) in enumerate(order, start=1):
        where = f"{number}/{len(order)} {task.key}" + (f", round {round_number}" if task.is_repeated else "")
        if task.key in skipped:
            continue
        with console.status(where):
            row = await _run(task)
        if isinstance(row, Skipped):
            skipped[task.key] = row
            console.print(f"{where}: skipped, {row.reason}")
        else:
            runs[task.key].append(row)
            console.print(f"{where}: {row.events_per_second:,.0f} events/s; {row.notes}", highlight=False)
    return {task.key: Result(task.key, runs[task.key], skipped.get(task.key), task.bare) for task in found}


async def _run(task: Task) -> Row | Skipped:
    try:
        return await task.run()
    except CountsError as error:
        error.add_note(f"That was the row {task.key}.")
        raise


def main() -> None:
    """What was typed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rows", default=",".join(GROUPS), help=f"some of {', '.join(GROUPS)}")
    parser.add_argument("--rounds", type=int, default=None, help="of the rows that are compared")
    parser.add_argument("--quick", action="store_true", help="one round of few events, twenty seconds of outage")
    parser.add_argument("--write", action="store_true", help="write the files although not every row ran in full")
    parser.add_argument("--json", action="store_true", help="JSON instead of the table")
    wish = parser.parse_args()
    groups = [name for name in wish.rows.split(",") if name]
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"no such rows: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    console = Console(stderr=wish.json)
    scale = QUICK if wish.quick else FULL
    if wish.rounds is not None:
        scale = replace(scale, rounds=wish.rounds)
    end_in_order()
    try:
        findings = asyncio.run(run(groups, scale, console))
    except (CountsError, OmniError) as error:
        explain(error)
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        console.print("Interrupted before the end; nothing is written.")
        sys.exit(EXIT_INTERRUPTED)
    if wish.json:
        print(json.dumps(as_json(findings)))
    else:
        console.print(table(findings.results))
    if wish.write or (set(groups) == set(GROUPS) and scale == FULL):
        write(findings)
        console.print(f"Written: {PAGE.name} and results.json")


if __name__ == "__main__":
    main()
