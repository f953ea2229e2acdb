"""`omni erase ADDRESS`: keep nothing about one recipient from now on, and give a receipt."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from omni_etl.cli.status import Data, loaded
from omni_etl.errors import SettingsError

COMMAND = "omni erase"


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("erase", rich_help_panel="Look and mend")(erase)


def erase(
    address: Annotated[str, typer.Argument(help="Whom to forget, in any spelling.")] = "",
    *,
    suppressions: Annotated[
        bool, typer.Option("--suppressions", help="Forget also that they may not be mailed.")
    ] = False,
    receipts: Annotated[bool, typer.Option("--receipts", help="Show what was erased so far.")] = False,
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value.")] = False,
) -> int:
    """Delete a recipient's events from the store and from batches that wait for customers, for privacy law.

    A keyed hash of the address stays, so that older events still on their way are left out as they come. Cut off, the same command
    goes on, as of when it was begun.
    """
    from omni_etl.suppression_list import address_key
    from omni_etl.wiring.erasing import read_receipts

    mine = loaded(data)
    if receipts:
        return _show([_shown(each) for each in asyncio.run(read_receipts(mine))], as_json=as_json)
    recipient = address_key(address)
    if not recipient:
        raise SettingsError(COMMAND, "no address", "Name the recipient, or ask for --receipts.")
    erased = asyncio.run(_erase(mine, recipient, with_suppressions=suppressions, quiet=as_json))
    for instance in erased.silent if not as_json else ():
        Console(stderr=True).print(
            f"[yellow]{instance} has been silent, and was not waited for. If it still runs, erase again.[/]"
        )
    shown = _shown(erased.receipt)
    return _show([shown | {"silent": list(erased.silent)} if as_json else shown], as_json=as_json)


async def _erase(mine: Any, recipient: str, *, with_suppressions: bool, quiet: bool) -> Any:
    from omni_etl.wiring.erasing import open_erasing

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("waiting for processes to hear", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        async with open_erasing(mine, show) as erasing:
            return await erasing.erase(recipient, with_suppressions=with_suppressions)


def _shown(receipt: Any) -> dict[str, Any]:
    """A receipt as people and programs read it."""
    members = asdict(receipt)
    until_ms, finished_at_ms = members.pop("at_ms"), members.pop("finished_at_ms")
    until, finished = _time(until_ms), "not yet" if finished_at_ms is None else _time(finished_at_ms)
    return {"id": members.pop("id"), "until": until, "finished": finished, **members}


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")


def _show(rows: list[dict[str, Any]], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(rows))  # noqa: T201 for machines
        return 0
    table = Table("receipt", "what", "", title="Erased", title_justify="left")
    for row in rows:
        for number, (name, value) in enumerate(row.items()):
            if name != "id":
                table.add_row(row["id"] if number == 1 else "", name.replace("_", " "), str(value))
    Console().print(table if rows else "Erased: nobody")
    return 0
