"""`omni suppressions export | import`: the suppression list as a file, CSV or NDJSON, in whole and in both directions."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from omni_etl.cli.process import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REFUSED
from omni_etl.cli.status import Data, loaded
from omni_etl.clock import SystemClock
from omni_etl.errors import UnavailableError
from omni_etl.event import SUBACCOUNT_ID_MAX

if TYPE_CHECKING:
    from omni_etl.cli.suppression_lines import Format
    from omni_etl.suppression_list import Question, Saying, SuppressionList

CLOCK: Final = SystemClock()
EXIT_REJECTED: Final = 1
SAYINGS_AT_ONCE: Final = 500  # of one transaction, see backends/database/engine.py
ENTRIES_AT_ONCE: Final = 2_000
REJECTIONS_SHOWN_MAX: Final = 100

Where = Annotated[
    str, typer.Argument(metavar="FILE|-", help="*.csv, *.ndjson, *.jsonl; - is standard input or output.")
]
Kind = Annotated[str, typer.Option("--format", help="csv or ndjson, where the name does not say.")]
AsJson = Annotated[bool, typer.Option("--json", help="Only a summary, as one line of JSON.")]

suppressions = typer.Typer(help="The suppression list: who may not be mailed.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(suppressions, name="suppressions", rich_help_panel="Look and mend")


@suppressions.command("export")
def export(
    path: Where,
    *,
    kind: Kind = "",
    subaccount: Annotated[
        int | None, typer.Option(min=0, max=SUBACCOUNT_ID_MAX, help="Only this subaccount's; 0: the primary account's.")
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> int:
    """Write every entry to a file.

    An entry that changes meanwhile may stand there twice; the later line is the true one. A file appears when it is whole.
    [bold]omni suppressions export list.csv[/]    [bold]omni suppressions export - --format ndjson | gzip > list.gz[/]
    """
    from omni_etl.cli.suppression_lines import format_of
    from omni_etl.suppression_list import Question

    form, work = format_of(path, kind), _Work("exported", path, as_json=as_json)

    async def run(kept: SuppressionList) -> None:
        question = Question(subaccount)
        with _output(path) as file, work.progress(MofNCompleteColumn(), await kept.count(question)):
            await _write(kept, question, file, form, work)

    return work.done(run, data)


@suppressions.command("import")
def import_(
    path: Where,
    *,
    kind: Kind = "",
    subaccount: Annotated[
        int, typer.Option(min=0, max=SUBACCOUNT_ID_MAX, help="Whose lines without a subaccount_id are.")
    ] = 0,
    data: Data = None,
    as_json: AsJson = False,
) -> int:
    """Suppress every recipient that a file names.

    A line has recipient and type (transactional or non_transactional; or the columns transactional and non_transactional with
    true), and may have source, description, list_id, subaccount_id and updated. With `updated` it speaks as of that time: an
    old export brings nothing back that was deleted since, and importing a file twice changes nothing. Without, it speaks as of now.

    Exit code 0: all lines were taken; 1: some are wrong, and were named with their number; the others were taken.
    [bold]omni suppressions import list.csv[/]    [bold]zcat list.gz | omni suppressions import - --format ndjson[/]
    """
    from omni_etl.cli.suppression_lines import format_of

    form, work = format_of(path, kind), _Work("imported", "stdin" if path == "-" else path, as_json=as_json)

    async def run(kept: SuppressionList) -> None:
        with _input(path) as file, work.progress(DownloadColumn(), _size_bytes(path)):
            await _take(kept, file, form, subaccount, work)

    return work.done(run, data)


async def _write(kept: SuppressionList, question: Question, file: BinaryIO, form: Format, work: _Work) -> None:
    from omni_etl.cli.suppression_lines import written

    place = None
    while True:
        walked = await kept.walk(question, place, count_max=ENTRIES_AT_ONCE)
        file.write(written(walked.entries, form, is_first=place is None))
        work.took(len(walked.entries), work.count + len(walked.entries))
        if walked.place is None:
            return
        place = walked.place


async def _take(kept: SuppressionList, file: BinaryIO, form: Format, subaccount_id: int, work: _Work) -> None:
    from omni_etl.cli.suppression_lines import LineError, lines, sayings

    now_ms = int(CLOCK.now() * 1000)
    ready: list[Saying] = []
    taken = 0
    for line in lines(file, form):
        try:
            ready += sayings(line, now_ms=now_ms, subaccount_id=subaccount_id)
        except LineError as error:
            work.reject(line.number, str(error))
            continue
        taken += 1
        if len(ready) >= SAYINGS_AT_ONCE:
            await kept.say(ready)
            work.took(taken, file.tell() if file.seekable() else 0)
            ready, taken = [], 0
    await kept.say(ready)
    work.took(taken, file.tell() if file.seekable() else 0)


@contextmanager
def _output(path: str) -> Iterator[BinaryIO]:
    """A file is there when it is whole."""
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = Path(f"{path}.part")
    with part.open("wb") as file:
        yield file
    part.replace(path)


def _size_bytes(path: str) -> int | None:
    return None if path == "-" else Path(path).stat().st_size


@contextmanager
def _input(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdin.buffer
        return
    with Path(path).open("rb") as file:
        yield file


@dataclass(slots=True)
class _Work:
    """What became of it so far, and how it is shown: on standard error, because standard output may be the file."""

    verb: str
    name: str
    as_json: bool
    count: int = 0
    rejected: int = 0
    rejections: list[tuple[int, str]] = field(default_factory=list)
    ended_by: str | None = None
    code: int = 0
    console: Console = field(default_factory=lambda: Console(stderr=True))
    started: float = field(default_factory=CLOCK.monotonic)
    advance: Callable[[int], None] = lambda _: None

    def done(self, ask: Callable[[SuppressionList], Awaitable[None]], data: Path | None) -> int:
        """Do it on the list of this directory; answers the exit code."""
        from omni_etl.wiring.databases import build_suppression_list
        from omni_etl.wiring.opened import opened

        mine = loaded(data)

        async def run() -> None:
            async with opened(build_suppression_list(mine, CLOCK)) as kept:
                await ask(kept)

        try:
            asyncio.run(run())
        except KeyboardInterrupt:
            self.ended_by, self.code = "stopped by Ctrl-C", EXIT_INTERRUPTED
        except OSError as error:
            self.ended_by, self.code = f"{self.name}: {error.strerror}", EXIT_REFUSED
        except UnavailableError as error:
            self.ended_by, self.code = str(error), EXIT_FAILED
        self._tell()
        return self.code or (EXIT_REJECTED if self.rejected else 0)

    def took(self, count: int, completed: int) -> None:
        """So many more; `completed` of what the bar counts."""
        self.count += count
        self.advance(completed)

    def reject(self, number: int, reason: str) -> None:
        """A line that is left out."""
        self.rejected += 1
        if len(self.rejections) < REJECTIONS_SHOWN_MAX:
            self.rejections.append((number, reason))

    @contextmanager
    def progress(self, column: ProgressColumn, total: int | None) -> Iterator[None]:
        """A bar while it lasts, where somebody can see it."""
        columns = (BarColumn(), column, TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
        hidden = self.as_json or not self.console.is_terminal
        with Progress(*columns, console=self.console, disable=hidden) as progress:
            task = progress.add_task("", total=total, rate="")
            self.advance = lambda completed: progress.update(task, completed=completed, rate=f"{self._rate:,.0f}/s")
            yield

    @property
    def _rate(self) -> float:
        return self.count / max(CLOCK.monotonic() - self.started, 1e-9)

    def _tell(self) -> None:
        if self.as_json:
            summary = {
                self.verb: self.count,
                "rejected": self.rejected,
                "rejections": [{"line": number, "reason": reason} for number, reason in self.rejections],
                "error": self.ended_by,
                "seconds": round(CLOCK.monotonic() - self.started, 3),
            }
            # The one line that programs read; where standard output is the file, it goes beside it.
            print(json.dumps(summary), file=sys.stderr if self.name == "-" else sys.stdout, flush=True)
            return
        for number, reason in self.rejections:
            self.console.print(f"{self.name}:{number}: {reason}", markup=False, highlight=False, soft_wrap=True)
        if self.rejected > len(self.rejections):
            self.console.print(f"… and {self.rejected - len(self.rejections):,} more")
        if self.ended_by:
            self.console.print(
                f"[bold red]omni suppressions:[/] {escape(self.ended_by)}", highlight=False, soft_wrap=True
            )
        refused = f", {self.rejected:,} lines refused" if self.rejected else ""
        self.console.print(f"[bold]{self.count:,}[/] {self.verb}{refused}, {self._rate:,.0f}/s", highlight=False)
