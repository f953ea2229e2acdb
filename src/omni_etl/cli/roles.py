"""`omni hose | run | api | store`: one role as one process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from omni_etl import settings, telemetry
from omni_etl.cli.process import Tls, run_role, serve_http
from omni_etl.errors import SettingsError
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


def api(
    *,
    tls_cert: Annotated[
        Path | None, typer.Option(help="File of a certificate: speak TLS. Instead of OMNI_API_TLS_CERT.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="File of its key. Instead of OMNI_API_TLS_KEY.")] = None,
    watch_stdin: WatchStdin = False,
) -> int:
    """Answer the HTTP API: webhooks, suppression list, ingest, status; its pages are at /docs."""
    return _role(_serve_api, watch_stdin=watch_stdin, api_tls_cert=tls_cert, api_tls_key=tls_key)


def store(*, watch_stdin: WatchStdin = False) -> int:
    """Host the embedded ClickHouse (chDB) of one data directory behind ClickHouse's HTTP interface."""
    from omni_etl.heap import keep_engines_heap

    keep_engines_heap()
    from omni_etl.cli.store import serve

    return _role(serve, watch_stdin=watch_stdin)


def _role(serve: Any, *, watch_stdin: bool, **said: object) -> int:
    loaded = settings.load(**{name: value for name, value in said.items() if value is not None})
    return run_role(lambda stop: serve(loaded, stop), loaded, watch_stdin=watch_stdin)


async def _serve_api(loaded: Settings, stop: asyncio.Event) -> int:
    from omni_etl.wiring.api import build_api

    tls = _tls(loaded)
    telemetry.get_logger().info("api_started", host=loaded.api_host, port=loaded.api_port, tls=tls is not None)
    app = build_api(loaded, stop)
    await serve_http(app, setting="OMNI_API_PORT", host=loaded.api_host, port=loaded.api_port, stop=stop, tls=tls)
    return 0


def _tls(loaded: Settings) -> Tls | None:
    if loaded.api_tls_cert is not None:
        return Tls(loaded.api_tls_cert, loaded.api_tls_key, setting="OMNI_API_TLS_CERT")
    if loaded.api_tls_key is not None:
        raise SettingsError("OMNI_API_TLS_KEY", "a key without a certificate", "Name both, or none.")
    return None
