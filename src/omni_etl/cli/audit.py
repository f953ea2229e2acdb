"""`omni audit`: whether every event that was accepted is in every service, once."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from omni_etl.audit import LATE_SECONDS, SINCE_DEFAULT, parse_since
from omni_etl.cli.manage import AsJson
from omni_etl.cli.status import Data, loaded
from omni_etl.clock import SystemClock
from omni_etl.errors import SettingsError

if TYPE_CHECKING:
    from omni_etl.audit import Account, HoseAccount, Report

FIGURES = ("done", "sided", "dead", "discarded", "late", "missing", "repeated")


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("audit", rich_help_panel="Look and mend")(audit)


def audit(
    *,
    since: Annotated[
        str, typer.Option(help="Envelopes cut since then: 24h, 90m, 7d ago, or a time in ISO 8601.")
    ] = SINCE_DEFAULT,
    late_seconds: Annotated[
        int,
        typer.Option(
            min=0, help="Seconds for which an envelope may be on its way; 0 where nothing is under way any more."
        ),
    ] = LATE_SECONDS,
    data: Data = None,
    as_json: AsJson = False,
) -> int:
    """Account for every envelope that was cut, by the ledgers of all services. Exit code 1 where something is missing or doubled."""
    from omni_etl.wiring.audit import SystemAudits

    since_ms = parse_since(since, now=SystemClock().now())
    if since_ms is None:
        raise SettingsError(
            "omni audit --since", repr(since), "Write 24h, 90m, 7d, or a time such as 2026-01-31T12:00."
        )
    report = asyncio.run(SystemAudits(loaded(data)).audit(since_ms, late_seconds=late_seconds))
    if as_json:
        print(json.dumps(asdict(report)))  # noqa: T201 for machines
    else:
        _show(report, Console())
    return int(bool(report.findings))


def _show(report: Report, console: Console) -> None:
    console.print(_services(report, _time(report.since_ms)))
    console.print(_hoses(report.hoses))
    for name, at_ms in report.since_ms_of.items():
        console.print(f"{name}: since {_time(at_ms)} only, when it was registered, or what its ledger keeps.")
    for name in report.not_audited:
        console.print(
            f"[yellow]{name} is not audited[/]: it keeps no ledger that we know, or message_events is not run."
        )
    for finding in report.findings:
        events = "" if finding.events is None else f", {finding.events} events"
        said = escape(f"{finding.service} {finding.key}: {finding.what}{events}.")
        console.print(f"[bold red]{said}[/] {escape(finding.do)}", highlight=False, soft_wrap=True)
    oldest = "not told" if report.oldest_owed_seconds is None else f"{report.oldest_owed_seconds:.0f} s"
    color = "red" if report.findings else "green"
    console.print(
        f"[bold {color}]{report.missing_envelopes} envelopes missing, {report.doubled_events} events doubled[/]; "
        f"oldest owed: {oldest}.",
        highlight=False,
    )


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")


def _services(report: Report, since: str) -> Table:
    table = Table("service", *FIGURES, title=f"Envelopes cut since {since}", title_justify="left")
    for name, account in report.services.items():
        table.add_row(name, *_figures(account))
    return table


def _hoses(hoses: list[HoseAccount]) -> Table:
    columns = [Column("hose", no_wrap=True), *map(Column, ("accepted, events", "lane", "cut", "numbers", "closed"))]
    table = Table(*columns, title="Hoses", title_justify="left")
    for hose in hoses:
        for number, lane in enumerate(hose.lanes):
            shown = (hose.hose_id, str(hose.accepted)) if number == 0 else ("", "")
            cut = str(lane.last - lane.first + 1)
            table.add_row(*shown, lane.lane, cut, f"{lane.first}..{lane.last}", "yes" if lane.closed else "no")
    return table


def _figures(account: Account) -> list[str]:
    shown = []
    for name in FIGURES:
        value = getattr(account, name)
        is_wrong = value and name in ("missing", "repeated")
        shown.append(f"[bold red]{value}[/]" if is_wrong else str(value))
    return shown
