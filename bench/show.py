"""Show: a row made of what was measured, and one row on the terminal."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.row import CountsError, Row, Skipped
from omni_etl.demo.usage import Usage
from omni_etl.errors import OmniError

EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130


def row_of(
    *,
    name: str,
    events: int,
    seconds: float,
    usages: Mapping[str, Usage],
    notes: str = "",
    figures: Mapping[str, float] | None = None,
) -> Row:
    """The figures of one run."""
    return Row(
        name=name,
        events=events,
        seconds=seconds,
        events_per_second=events / seconds,
        cpu_us_per_event={process: each.cpu_seconds / events * 1e6 for process, each in usages.items()},
        resident_mib_max={process: each.resident_mib_max for process, each in usages.items()},
        notes=notes,
        figures=figures or {},
    )


def row_table(row: Row) -> Table:
    """What each process cost."""
    title = f"{row.name}: {row.events_per_second:,.0f} events/s ({row.events:,} in {row.seconds:.2f} s)"
    table = Table("process", "CPU, µs an event", "resident at most, MiB", title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for process, cpu_us in sorted(row.cpu_us_per_event.items(), key=lambda item: -item[1]):
        table.add_row(process, f"{cpu_us:.2f}", f"{row.resident_mib_max.get(process, 0):.0f}")
    table.add_section()
    table.add_row("together", f"{row.cpu_us_per_event_total:.2f}", "")
    table.caption = row.notes
    return table


def alone(run: Callable[[], Awaitable[Row | Skipped]], *, as_json: bool) -> None:
    """Run one row and show it; exit code 1 where counts did not agree."""
    end_in_order()
    try:
        row = asyncio.run(_awaited(run))
    except (CountsError, OmniError) as error:
        explain(error)
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    if as_json:
        print(json.dumps(asdict(row)))
    elif isinstance(row, Skipped):
        Console().print(f"{row.name}: skipped, {row.reason}")
    else:
        Console().print(row_table(row))


def end_in_order() -> None:
    """SIGTERM ends us as Ctrl-C does: every process that we started is ended, and our data are forgotten."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def explain(error: Exception) -> None:
    """What went wrong, and what is known besides."""
    said = [str(error), *getattr(error, "__notes__", [])]
    Console(stderr=True).print("[bold red]bench:[/]", *map(escape, said), soft_wrap=True, highlight=False)


async def _awaited(run: Callable[[], Awaitable[Row | Skipped]]) -> Row | Skipped:
    return await run()
