"""`omni send FILE…|-`: events out of files into a hose."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from omni_etl import settings
from omni_etl.cli.process import EXIT_INTERRUPTED, EXIT_REFUSED
from omni_etl.cli.source import Chunk, SourceError, chunks, size_bytes
from omni_etl.client import Hose, SendReport
from omni_etl.errors import SendError

EXIT_REJECTED: Final = 1
EXIT_NOT_SENT: Final = EXIT_REFUSED
REJECTIONS_SHOWN_MAX: Final = 100
CHUNKS_AHEAD: Final = 2  # read per connection before one of them must have been answered


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("send", rich_help_panel="Everything on one machine")(send)


def send(
    paths: Annotated[
        list[str], typer.Argument(metavar="FILE…|-", help="NDJSON, a JSON array or one object; .gz, .zst.")
    ],
    *,
    url: Annotated[str, typer.Option(help="The hose; default: OMNI_HOSE_HOST and OMNI_HOSE_PORT.")] = "",
    connections: Annotated[int, typer.Option(min=1, max=64, help="Requests at the same time.")] = 4,
    old: Annotated[bool, typer.Option("--old", help="An import: events of any age.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Only a summary, as one line of JSON.")] = False,
) -> int:
    """Send events to a hose and say what it refused, with file and line.

    Exit code 0: all were accepted; 1: some were refused; 2: some could not be sent. Sending a file twice sends its
    events twice.
    """
    if not url:
        loaded = settings.load()
        url = f"http://{loaded.hose_host}:{loaded.hose_port}"
    console = Console(stderr=as_json)
    return send_paths(paths, url=url, connections=connections, old=old, as_json=as_json, console=console)


def send_paths(
    paths: Sequence[str], *, url: str, connections: int, as_json: bool, console: Console, old: bool = False
) -> int:
    """Send files, with a progress bar; answers the exit code."""
    sending = _Sending(started=time.perf_counter())
    try:
        total = size_bytes(paths)
        with Hose(url, connections=connections, old=old) as hose, _progress(console, as_json=as_json) as progress:
            task = progress.add_task("", total=total, rate="")
            _send_all(hose, paths, sending, connections=connections, shown=(progress, task))
    except KeyboardInterrupt:
        sending.ended_by, sending.code = "stopped by Ctrl-C", EXIT_INTERRUPTED
    except (SendError, SourceError) as error:
        sending.ended_by, sending.code = str(error), EXIT_NOT_SENT
    if as_json:
        print(json.dumps(sending.summary()), flush=True)  # noqa: T201 the line that programs read
    else:
        sending.show(console)
    return sending.exit_code


@dataclass(slots=True)
class _Sending:
    """What became of it so far."""

    started: float
    accepted: int = 0
    rejected: int = 0
    rejections: list[tuple[str, int, str]] = field(default_factory=list)
    read_bytes: dict[str, int] = field(default_factory=dict)
    ended_by: str | None = None
    code: int = 0

    def add(self, chunk: Chunk, report: SendReport) -> None:
        self.accepted += report.accepted
        self.rejected += report.rejected_count
        self.read_bytes[chunk.name] = max(chunk.read_bytes, self.read_bytes.get(chunk.name, 0))
        for each in report.rejected[: REJECTIONS_SHOWN_MAX - len(self.rejections)]:
            self.rejections.append((chunk.name, chunk.numbers[each.line - 1], each.reason))

    @property
    def exit_code(self) -> int:
        return self.code or (EXIT_REJECTED if self.rejected else 0)

    @property
    def rate(self) -> float:
        return self.accepted / max(time.perf_counter() - self.started, 1e-9)

    def summary(self) -> dict[str, object]:
        return {
            "accepted": self.accepted,
            "rejected": self.rejected,
            "rejections": [{"file": name, "line": line, "reason": reason} for name, line, reason in self.rejections],
            "error": self.ended_by,
            "seconds": round(time.perf_counter() - self.started, 3),
        }

    def show(self, console: Console) -> None:
        for name, line, reason in self.rejections:
            console.print(f"{name}:{line}: {reason}", markup=False, highlight=False, soft_wrap=True)
        if self.rejected > len(self.rejections):
            console.print(f"… and {self.rejected - len(self.rejections):,} more")
        if self.ended_by:
            console.print(f"[bold red]omni send:[/] {self.ended_by}", highlight=False, soft_wrap=True)
        console.print(
            f"[bold]{self.accepted:,}[/] accepted, {self.rejected:,} refused, {self.rate:,.0f} events/s",
            highlight=False,
        )


def _send_all(
    hose: Hose, paths: Sequence[str], sending: _Sending, *, connections: int, shown: tuple[Progress, TaskID]
) -> None:
    """Read here, send in threads; on any trouble let those under way end, and count them."""
    pool = ThreadPoolExecutor(connections)
    under_way: dict[Future[SendReport], Chunk] = {}
    try:
        for chunk in _all_chunks(paths):
            under_way[pool.submit(hose.send_lines, chunk.lines)] = chunk
            while len(under_way) >= connections * CHUNKS_AHEAD:
                _count(under_way, sending, shown)
        while under_way:
            _count(under_way, sending, shown)
    finally:
        hose.give_up()
        pool.shutdown(cancel_futures=True)
        for future, chunk in under_way.items():
            if not future.cancelled() and future.exception() is None:
                sending.add(chunk, future.result())


def _all_chunks(paths: Sequence[str]) -> Iterator[Chunk]:
    for path in paths:
        yield from chunks(path)


def _count(under_way: dict[Future[SendReport], Chunk], sending: _Sending, shown: tuple[Progress, TaskID]) -> None:
    """Wait for at least one answer and count what there is."""
    done, _ = wait(under_way, return_when=FIRST_COMPLETED)
    for future in done:
        chunk = under_way.pop(future)
        sending.add(chunk, future.result())
    progress, task = shown
    progress.update(task, completed=sum(sending.read_bytes.values()), rate=f"{sending.rate:,.0f} events/s")


def _progress(console: Console, *, as_json: bool) -> Progress:
    columns = (BarColumn(), DownloadColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=as_json or not console.is_terminal)
