"""`omni hose | run | api | store`: one role as one process."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from omni_etl import settings, telemetry
from omni_etl.cli.process import run_role, serve_http
from omni_etl.settings import Settings

WatchStdin = Annotated[
    bool, typer.Option("--watch-stdin", hidden=True, help="End when standard input ends: it is the starter's pipe.")
]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    panel = "Roles, one process each"
    app.command("hose", rich_help_panel=panel)(hose)
    app.command("run", rich_help_panel=panel)(run)
    app.command("api", rich_help_panel=panel)(api)
    app.command("store", rich_help_panel=panel)(store)


def hose(*, watch_stdin: WatchStdin = False) -> int:
    """Take events over HTTP, keep them on disk, cut envelopes and send them to the queue."""
    from omni_etl.cli.hose import serve

    return _role(serve, watch_stdin=watch_stdin)


def run(*, watch_stdin: WatchStdin = False) -> int:
    """Receive envelopes and have every service apply them: one parent, a child process per service."""
    from omni_etl.cli.run import serve

    return _role(serve, watch_stdin=watch_stdin)


def api(*, watch_stdin: WatchStdin = False) -> int:
    """Answer the HTTP API: webhooks, suppression checks, status."""
    return _role(_serve_api, watch_stdin=watch_stdin)


def store(*, watch_stdin: WatchStdin = False) -> int:
    """Host the embedded ClickHouse (chDB) of one data directory behind ClickHouse's HTTP interface."""
    from omni_etl.cli.store import serve

    return _role(serve, watch_stdin=watch_stdin)


def _role(serve: Any, *, watch_stdin: bool) -> int:
    loaded = settings.load()
    return run_role(lambda stop: serve(loaded, stop), loaded, watch_stdin=watch_stdin)


async def _serve_api(loaded: Settings, stop: asyncio.Event) -> int:
    from omni_etl.wiring.api import build_api

    telemetry.get_logger().info("api_started", host=loaded.api_host, port=loaded.api_port)
    app = build_api(loaded)
    await serve_http(app, setting="OMNI_API_PORT", host=loaded.api_host, port=loaded.api_port, stop=stop)
    return 0
