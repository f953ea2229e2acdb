"""`omni cost`: what Amazon SQS would charge, before you use it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table

from omni_etl import cost, settings
from omni_etl.errors import SettingsError

if TYPE_CHECKING:
    from omni_etl.cost import Bill, Cutting, Prices, Stream

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]
PriceTable = Annotated[
    str,
    typer.Option(
        help="A region that is built in, or a JSON file: "
        '{"region": "…", "source": "…", "steps": [[100e9, 0.40], [null, 0.24]]}, '
        "each step up to so many requests a month, US dollars a million.",
    ),
]
OPTION: Final = "--price-table"


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("cost", rich_help_panel="Look and mend")(show)


def show(
    *,
    events_per_day: Annotated[float, typer.Option(min=1, help="Events a day, evenly spread.")],
    hoses: Annotated[int, typer.Option(min=1, help="Hoses that share them.")] = 1,
    parents: Annotated[int, typer.Option(min=1, help="`omni run` processes that poll.")] = 1,
    bytes_per_event: Annotated[
        float, typer.Option(min=1, help="In a full envelope, as AWS counts; the default is measured with the demo's.")
    ] = cost.BYTES_PER_EVENT,
    price_table: PriceTable = "us-east-1",
    as_json: AsJson = False,
) -> int:
    """Compute the SQS bill of our envelopes, beside that of one-event messages. Cutting is as the settings say."""
    stream = cost.Stream(events_per_day, hoses, parents, bytes_per_event)
    cutting, prices = _cutting(settings.load()), _prices(price_table)
    bills = {
        "envelopes": cost.envelopes_bill(stream, cutting, prices),
        "one_event": cost.one_event_bill(stream, prices),
        "one_event_batched": cost.one_event_bill(stream, prices, batch_count=cost.BATCH_COUNT),
    }
    if as_json:
        print(json.dumps(_as_dict(stream, cutting, prices, bills)))  # noqa: T201 for machines
    else:
        _print(Console(), stream, cutting, bills)
    return 0


def _cutting(mine: settings.Settings) -> Cutting:
    names = (
        *("envelope_bytes", "envelope_events_max", "bulk_age_seconds", "express_age_seconds"),
        *("express_age_idle_seconds", "express_busy_events_per_second", "heartbeat_seconds", "lease_seconds"),
    )
    return cost.Cutting(**{name: getattr(mine, name) for name in names}, services_count=len(mine.service_names))


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    """A price table as a file."""

    region: str
    source: str
    steps: list[tuple[float | None, float]]


def _prices(text: str) -> Prices:
    """The built-in region, or what the file says.

    Raises:
        SettingsError: neither can be read.

    """
    built_in = cost.PRICES.get(text)
    if built_in is not None:
        return built_in
    try:
        written = msgspec.json.decode(Path(text).read_bytes(), type=_Written)
    except (OSError, msgspec.MsgspecError) as error:
        fix = f"Give a file as `omni cost --help` shows it, or one of: {', '.join(cost.PRICES)}."
        raise SettingsError(OPTION, f"{text!r}, which is no price table ({error})", fix) from None
    ends = [math.inf if end is None else end for end, _ in written.steps]
    if not ends or ends[-1] != math.inf or ends != sorted(set(ends)):
        raise SettingsError(
            OPTION, f"{text!r}, whose steps do not rise to null", "End the last step with null, for ever."
        )
    return cost.Prices(written.region, tuple(zip(ends, (usd for _, usd in written.steps), strict=True)), written.source)


def _as_dict(stream: Stream, cutting: Cutting, prices: Prices, bills: dict[str, Bill]) -> dict[str, Any]:
    return {
        "events_per_day": stream.events_per_day,
        "hoses": stream.hoses,
        "parents": stream.parents,
        "bytes_per_event": stream.bytes_per_event,
        "region": prices.region,
        "prices_from": prices.source,
        "busy_express_usd_per_hose_month": cost.busy_express_usd_per_hose_month(cutting, prices),
        **{
            name: {
                "requests_per_day": bill.requests_per_day,
                "usd_per_day": bill.usd_per_day,
                "usd_per_month": bill.usd_per_month,
                "usd_per_million_events": bill.usd_per_million_events,
                "requests": dict(bill.requests),
            }
            for name, bill in bills.items()
        },
    }


def _print(console: Console, stream: Stream, cutting: Cutting, bills: dict[str, Bill]) -> None:
    ours, one, batched = bills.values()
    console.print(_table(stream, cutting, bills))
    console.print(
        f"One-event messages cost [bold]{one.usd_per_day / ours.usd_per_day:,.1f} times[/] as much, "
        f"[bold]{batched.usd_per_day / ours.usd_per_day:,.1f} times[/] with ten in each call.\n"
        "Real time has a fixed price: up to "
        f"${cost.busy_express_usd_per_hose_month(cutting, ours.prices):,.2f} a month for each hose whose express lane is busy.\n"
        f"Standard queues, {ours.prices.region}; prices {ours.prices.source}. Without the free million requests, data "
        "that leave the region, and KMS.",
        highlight=False,
    )


def _table(stream: Stream, cutting: Cutting, bills: dict[str, Bill]) -> Table:
    ours, one, batched = bills.values()
    bulk, express = cost.bulk_lane(stream, cutting), cost.express_lane(stream, cutting)
    words = {
        "bulk": f"  bulk, {bulk.events_each:,.0f} events each",
        "express": f"  express, {express.events_each:,.0f} events each",
        "renewals": "  renewals of leases",
        "empty polls": "  empty polls, at most",
    }
    figures = [
        Column(name, justify="right", no_wrap=True) for name in ("requests/day", "$/day", "$/month", "$/million")
    ]
    title = f"SQS for {stream.events_per_day:,.0f} events a day, {stream.hoses} x hose, {stream.parents} x run"
    table = Table(Column("", no_wrap=True), *figures, title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.pad_edge, table.padding = False, (0, 0)
    table.add_row("envelopes", *_figures(ours.requests_per_day, ours.usd_per_month, stream), style="bold")
    for name, word in words.items():
        table.add_row(word, *_figures(ours.requests[name], ours.share_usd_per_month(name), stream))
    table.add_section()
    table.add_row("one event a message", *_figures(one.requests_per_day, one.usd_per_month, stream))
    table.add_row("  ten messages a call", *_figures(batched.requests_per_day, batched.usd_per_month, stream))
    return table


def _figures(requests_per_day: float, usd_per_month: float, stream: Stream) -> tuple[str, str, str, str]:
    usd_per_day = usd_per_month / cost.MONTH_DAYS
    usd_per_million = usd_per_day / (stream.events_per_day / cost.MILLION)
    return f"{requests_per_day:,.0f}", f"{usd_per_day:,.2f}", f"{usd_per_month:,.2f}", f"{usd_per_million:,.5f}"
