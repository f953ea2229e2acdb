"""`python -m tests.chaos`: what `make chaos` runs, and `make e2e` after its tests."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from tests.chaos.report import write
from tests.chaos.run import Run, Watcher, Wish, live
from tests.chaos.schedule import Struck
from tests.chaos.world import QueueKind

EXIT_INTERRUPTED: Final = 130
QUEUES: Final[dict[str, tuple[QueueKind, ...]]] = {"sqlite": ("sqlite",), "sqs": ("sqs",), "both": ("sqlite", "sqs")}


def main() -> int:
    """Run what is asked for; 1 where anything differs."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="The whole system as real processes, broken on purpose."
    )
    parser.add_argument("--queue", choices=QUEUES, default="both")
    parser.add_argument("--events", type=int, default=1_000_000, help="at least so many")
    parser.add_argument("--faults", type=int, default=220)
    parser.add_argument("--seed", type=int, default=1, help="of the faults' order and of the events")
    parser.add_argument("--write", action="store_true", help="write docs/RELIABILITY.md")
    parser.add_argument("--json", action="store_true", help="only the last lines")
    wish = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: everything is put back
    console = Console(stderr=True, quiet=wish.json)
    runs: list[Run] = []
    try:
        for queue in QUEUES[wish.queue]:
            runs.append(_run(Wish(queue, wish.events, wish.faults, wish.seed), console))
            print(json.dumps(runs[-1].as_dict(), separators=(",", ":")), flush=True)
    except KeyboardInterrupt:
        console.print("Interrupted; everything that was started has ended.")
        return EXIT_INTERRUPTED
    if wish.write:
        write(runs)
    return 0 if all(run.ok for run in runs) else 1


def _run(wish: Wish, console: Console) -> Run:
    columns = (TextColumn("{task.description:>16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        run = live(wish, _watcher(progress, wish))
    table = Table("compared", "wanted", "found", title=f"{wish.queue} queue, seed {wish.seed}", title_justify="left")
    for each in run.verdict.lines:
        found = f"{each.found:,}" if each.ok else f"[bold red]{each.found:,}[/]"
        table.add_row(each.what, f"{each.wanted:,}", found)
    console.print(table)
    for text in run.verdict.wrong:
        console.print(text, style="red", markup=False, highlight=False)
    if not run.ok:
        console.print(f"Its data and logs are kept in {run.directory}.")
    return run


def _watcher(progress: Progress, wish: Wish) -> Watcher:
    faults = progress.add_task("faults", total=wish.faults)
    stages: dict[str, TaskID] = {}

    def struck(each: Struck) -> None:
        progress.advance(faults)
        back = "not back" if each.back_seconds is None else f"back after {each.back_seconds:.1f} s"
        progress.console.print(f"{each.kind:24} {back}", highlight=False)

    def moved(stage: str, done: int, total: int) -> None:
        if stage not in stages:
            stages[stage] = progress.add_task(stage, total=total)
        progress.update(stages[stage], completed=done)

    return Watcher(lambda count: progress.update(faults, total=count), struck, moved)


if __name__ == "__main__":
    sys.exit(main())
