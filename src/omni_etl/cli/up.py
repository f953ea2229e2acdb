"""`omni up`: everything on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.table import Column, Table

from omni_etl import settings
from omni_etl.cli.process import run_role
from omni_etl.clock import SystemClock
from omni_etl.settings import Settings

if TYPE_CHECKING:
    from omni_etl.embedded.up import Places

EXAMPLE: Final = (
    '{"type":"bounce","bounce_class":"10","timestamp":"1700000000","event_id":"1","rcpt_to":"someone@example.com"}'
)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("up", rich_help_panel="Everything on one machine")(up)


def up(
    *,
    data: Annotated[Path | None, typer.Option(help="Directory of all data; kept over restarts.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Free ports, and one line of JSON on standard output when ready.")
    ] = False,
    watch_stdin: Annotated[bool, typer.Option("--watch-stdin", hidden=True)] = False,
) -> int:
    """Start every role with embedded engines under one data directory; Ctrl-C stops them in order."""
    overrides = {} if data is None else {"data_dir": data}
    loaded = settings.load(**overrides)
    return run_role(lambda stop: _serve(loaded, stop, as_json=as_json), loaded, watch_stdin=watch_stdin)


async def _serve(loaded: Settings, stop: asyncio.Event, *, as_json: bool) -> int:
    from omni_etl.embedded.up import Up

    system = Up(loaded, any_ports=as_json, clock=SystemClock(), rng=random.SystemRandom())
    console = Console(stderr=as_json)
    starting = asyncio.create_task(system.start())
    stopping = asyncio.create_task(stop.wait())
    try:
        with console.status("Starting tracker, store, hose, parent with its children, and API…"):
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            _show(await starting, console, as_json=as_json)
            watching = asyncio.create_task(system.watch())
            await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                await watching
    finally:
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await starting
        with console.status("Stopping in order: hose, API, parent, store, tracker…"):
            await system.stop()
    if not as_json:
        console.print("Stopped. Everything is kept; the next start goes on from here.")
    return 0


def _show(places: Places, console: Console, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(places.as_dict()), flush=True)  # noqa: T201 the one line that a program waits for
        return
    table = Table(Column(no_wrap=True), Column(overflow="fold"), show_header=False, box=None, padding=(0, 2))
    for name, value in places.as_dict().items():
        shown = " ".join(f"{role}={pid}" for role, pid in places.pids.items()) if name == "pids" else str(value)
        table.add_row(f"[bold]{name}[/]", shown)
    table.add_row("[bold]logs[/]", f"{places.data_dir}/logs/*.log")
    console.print("[bold green]omni-etl is up.[/]")
    console.print(table)
    console.print("\nTry it:", highlight=False)
    console.print(
        f"  curl -d '{EXAMPLE}' -H 'Content-Type: application/json' {places.hose_url}/v1/events", soft_wrap=True
    )
    console.print(
        f"  curl -H 'Authorization: {places.api_key}' {places.api_url}/api/v1/suppression-list/someone@example.com",
        soft_wrap=True,
        highlight=False,
    )
    console.print("Ctrl-C stops it.")
