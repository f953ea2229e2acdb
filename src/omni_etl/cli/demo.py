"""`omni demo`: see it work."""

from __future__ import annotations

import asyncio
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from omni_etl import settings
from omni_etl.cli.process import EXIT_INTERRUPTED, run_role
from omni_etl.clock import SystemClock

if TYPE_CHECKING:
    from omni_etl.embedded.up import GivenQueue

LOOPBACK = "127.0.0.0/8"


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("demo", rich_help_panel="Everything on one machine")(run)


def run(
    *,
    events: Annotated[int, typer.Option(min=1, help="How many events.")] = 20_000,
    stay: Annotated[bool, typer.Option("--stay", help="Leave it running until Ctrl-C, to look around.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Only the last line, which is JSON in any case.")] = False,
    queue: Annotated[
        Literal["sqlite", "sqs"],
        typer.Option(help="`sqs`: over SQS's protocol, at OMNI_SQS_ENDPOINT_URL or at a moto server of its own."),
    ] = "sqlite",
) -> int:
    """Start everything in a temporary directory, send realistic events, and count what landed where.

    Ends with one line of JSON. Exit code 0 only if every figure agrees: nothing lost, nothing doubled.
    """
    with tempfile.TemporaryDirectory(prefix="omni-demo-", ignore_cleanup_errors=True) as directory:
        # The demo's customer listens on loopback, which webhooks otherwise may not reach.
        loaded = settings.load(data_dir=Path(directory), webhooks_allow_networks=LOOPBACK, log_level="warning")
        return run_role(
            lambda stop: _with_queue(loaded, stop, Wish(events, stay, as_json, queue)), loaded, watch_stdin=False
        )


@dataclass(frozen=True, slots=True)
class Wish:
    """What was typed."""

    count: int
    stay: bool
    as_json: bool
    queue: Literal["sqlite", "sqs"]


async def _with_queue(loaded: settings.Settings, stop: asyncio.Event, wish: Wish) -> int:
    if wish.queue == "sqlite":
        return await _run(loaded, stop, wish, None)
    from omni_etl.demo.sqs_queue import SqsOfTheDemo

    sqs = SqsOfTheDemo(loaded)
    try:
        return await _run(loaded, stop, wish, sqs.given)
    finally:
        await sqs.delete()


async def _run(loaded: settings.Settings, stop: asyncio.Event, wish: Wish, queue: GivenQueue | None) -> int:
    from omni_etl.demo.outcome import usage_table
    from omni_etl.demo.run import as_line, demo
    from omni_etl.embedded.up import Up

    console = Console(quiet=wish.as_json)
    system = Up(loaded, any_ports=True, clock=SystemClock(), rng=random.SystemRandom(), queue=queue)
    stopping = asyncio.create_task(stop.wait())
    running = asyncio.create_task(demo(system, count=wish.count, console=console))
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            console.print("Interrupted before the end.")
            return EXIT_INTERRUPTED
        outcome, usages, places = await running
        console.print(outcome.table(), outcome.services_table(), usage_table(usages, outcome.accepted))
        rate = outcome.accepted / outcome.seconds
        verdict = "[bold green]Everything agrees.[/]" if outcome.agrees else "[bold red]The figures do not agree.[/]"
        console.print(f"{verdict} {rate:,.0f} events/s from the first request to the last receipt.")
        print(as_line(outcome), flush=True)  # noqa: T201 the line that programs read
        if wish.stay:
            keys = "".join(f"{name}={value} " for name, value in (queue.environment if queue else {}).items())
            console.print(f"Still up: {keys}omni status --data {places.data_dir}   Ctrl-C ends it.", soft_wrap=True)
            await stop.wait()
        return 0 if outcome.agrees else 1
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        with console.status("Stopping in order…"):
            await system.stop()
