"""`omni status`: one look at the whole system."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from omni_etl import settings
from omni_etl.audit import AUDITED
from omni_etl.errors import SettingsError

SILENT_SECONDS: Final = 10  # a parent speaks every two

Data = Annotated[Path | None, typer.Option(help="Data directory of the `omni up` to look at.")]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("status", rich_help_panel="Look and mend")(status)


def status(
    *, data: Data = None, as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False
) -> int:
    """Show roles, lanes, what each service owes, and circuits. Exit code 1 when something is away."""
    from omni_etl.wiring.status import read_status

    seen = asyncio.run(read_status(loaded(data)))
    if as_json:
        print(json.dumps(seen))  # noqa: T201 for machines
    else:
        _show(seen, Console())
    return int(any("away" in part for part in seen.values()))


def loaded(data: Path | None) -> settings.Settings:
    """The settings of the system on this directory, or of the environment.

    Raises:
        SettingsError: no such directory; asking would make one, and answer from an empty database.

    """
    from omni_etl.embedded.up import running

    mine = settings.load(**({} if data is None else {"data_dir": data}))
    if not mine.data_dir.is_dir() and (data is not None or not mine.database_url.get_secret_value()):
        found = f"{mine.data_dir.absolute()}, which is no directory"
        raise SettingsError("OMNI_DATA_DIR", found, "Start `omni up` first, or name its directory with --data.")
    return running(mine)


def _show(seen: dict[str, Any], console: Console) -> None:
    for name, part in seen.items():
        if "away" in part:
            console.print(f"[bold red]{name} is away:[/] {escape(part['away'])}", highlight=False)
    if "away" not in seen["queues"]:
        console.print(_queues(seen["queues"]))
    if "away" not in seen["fleet"]:
        for role in seen["fleet"]["roles"]:
            console.print(_audit(role) if role["role"] == AUDITED else _parent(role))
        _show_dead_letters(seen["fleet"]["dead_letters"], console)
    table = Table(title="What stands where", title_justify="left")
    for part in ("hose", "outbox", "suppressions", "store"):
        for name, value in seen[part].items() if "away" not in seen[part] else ():
            table.add_row(part, name, escape(str(value)))
    console.print(table)


def _queues(queues: dict[str, dict[str, Any]]) -> Table:
    table = Table("queue", "ready", "leased", "oldest, s", title="Queues (envelopes)", title_justify="left")
    for name, depth in queues.items():
        late = "[yellow]" if depth["ready"] and not name.startswith("dead") else ""
        color = "[red]" if depth["ready"] and name.startswith("dead") else late
        age_seconds = depth["oldest_age_seconds"]
        oldest = "not told" if age_seconds is None else f"{age_seconds:.1f}"
        table.add_row(name, f"{color}{depth['ready']}", str(depth["leased"]), oldest)
    return table


def _parent(role: dict[str, Any]) -> Table:
    age = role["seen_seconds_ago"]
    title = f"{role['role']} {role['instance']}: {role.get('leases', 0)} leases, seen {age} s ago"
    if age > SILENT_SECONDS:
        title += ", [bold red]perhaps gone[/]: what follows was its last word"
    table = Table("service", "child", "circuit", "waiting", "in flight", "reason", title=title, title_justify="left")
    for name, service in role.get("services", {}).items():
        circuit = "[green]closed[/]" if service["circuit"] == "closed" else "[bold red]open[/]"
        child = str(role.get("children", {}).get(name, "[red]none[/]"))
        table.add_row(
            name, child, circuit, str(service["waiting"]), str(service["in_flight"]), escape(service["reason"])
        )
    return table


def _audit(role: dict[str, Any]) -> str:
    """The last check."""
    is_wrong = role["missing_envelopes"] or role["doubled_events"]
    said = f"{role['missing_envelopes']} envelopes missing, {role['doubled_events']} events doubled"
    when = f"in {role['window_hours']} hours, {role['seen_seconds_ago']} s ago"
    return f"audit: [{'bold red' if is_wrong else 'green'}]{said}[/] {when}" + (": omni audit" if is_wrong else "")


def _show_dead_letters(letters: list[dict[str, Any]], console: Console) -> None:
    if not letters:
        return
    table = Table("service", "envelope", "reason", title="Dead letters, newest first", title_justify="left")
    for letter in letters:
        table.add_row(letter["service"], letter["key"], escape(letter["reason"]))
    console.print(table)
