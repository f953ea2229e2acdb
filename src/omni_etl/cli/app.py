"""`omni`: every command in one table."""

from __future__ import annotations

import sys
from typing import Final

import typer

from omni_etl.cli import (
    audit,
    cost,
    dead_letters,
    demo,
    erase,
    manage,
    queues,
    roles,
    send,
    status,
    suppressions,
    up,
    webhook_delivery,
)
from omni_etl.cli.process import guarded

HELP: Final = """The event pipeline for people who send email at volume.

Start with [bold]omni demo[/] (everything on this machine, 20,000 events, a few seconds) or [bold]omni up[/]
(the same, for keeps). Settings are OMNI_* variables or omni.toml: see [bold]omni settings[/].
"""


def _leave(code: int) -> None:
    """A command answers its exit code."""
    raise typer.Exit(code)


app: Final = typer.Typer(
    name="omni",
    result_callback=_leave,
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
for module in (
    demo,
    up,
    send,
    status,
    roles,
    manage,
    webhook_delivery,
    dead_letters,
    audit,
    suppressions,
    erase,
    queues,
    cost,
):
    module.add_to(app)


def main() -> None:
    """The console script."""
    sys.exit(guarded(_run))


def _run() -> int:
    app(prog_name="omni")
    raise AssertionError("a command line leaves by SystemExit")
