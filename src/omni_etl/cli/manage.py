"""`omni webhooks | keys | services | settings`: look at the system's agreements and change them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from pydantic import SecretStr, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from omni_etl import settings
from omni_etl.cli.status import Data, loaded
from omni_etl.clock import Clock, SystemClock
from omni_etl.deliveries import Deliveries
from omni_etl.errors import SettingsError
from omni_etl.event import SUBACCOUNT_ID_MAX, TYPES
from omni_etl.keys import GRANTS, Keys
from omni_etl.registry import Registry
from omni_etl.webhook import OVERLAP_SECONDS, OVERLAP_SECONDS_MAX, Webhooks

AsJson = Annotated[bool, typer.Option("--json", help="One JSON value.")]
_GRANTS: Final = ", ".join(GRANTS)
Answer = TypeVar("Answer")
Contract = TypeVar("Contract", Deliveries, Keys, Registry, Webhooks)

webhooks = typer.Typer(help="Webhooks: who is told of which events.", no_args_is_help=True)
keys = typer.Typer(help="API keys.", no_args_is_help=True)
services = typer.Typer(help="Services that envelopes owe.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    panel = "Look and mend"
    app.add_typer(webhooks, name="webhooks", rich_help_panel=panel)
    app.add_typer(keys, name="keys", rich_help_panel=panel)
    app.add_typer(services, name="services", rich_help_panel=panel)
    app.command("settings", rich_help_panel=panel)(show_settings)


@webhooks.command("create")
def create_webhook(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    target: Annotated[str, typer.Argument(help="The URL that receives batches.")],
    *,
    events: Annotated[str, typer.Option(help="Event types, comma separated; all when empty.")] = "",
    subaccount: Annotated[
        int | None, typer.Option(help="Only this subaccount; 0 is the primary account alone.")
    ] = None,
    data: Data = None,
) -> int:
    """Tell a customer's server of events from now on; prints the webhook's id."""
    from omni_etl.api.problems import Problem
    from omni_etl.api.webhook_members import NewWebhook, made

    wanted = [each.strip() for each in events.split(",") if each.strip()] or sorted(TYPES)
    try:
        webhook = made(NewWebhook(name=name, target=target, events=wanted), subaccount)
    except Problem as error:
        raise SettingsError("omni webhooks create", "a bad argument", str(error.errors[0]["message"])) from None
    except ValidationError as error:
        raise SettingsError("omni webhooks create", "a bad argument", error.errors()[0]["msg"]) from None
    _ask_webhooks(data, lambda kept: kept.put(webhook))
    print(webhook.id)  # noqa: T201 for scripts
    return 0


@webhooks.command("list")
def list_webhooks(*, data: Data = None, as_json: AsJson = False) -> int:
    """Every webhook, how delivery to it goes, and how many events wait; secrets are shown as set or not set."""
    from omni_etl.api.webhook_delivery import state_of
    from omni_etl.outbox import Lane

    found = _ask_webhooks(data, lambda kept: kept.all())
    lanes = _ask_deliveries(data, lambda kept: kept.lanes([each.id for each in found]))
    rows = [
        {
            "id": each.id,
            "name": each.name,
            "target": each.target,
            "events": len(each.events),
            "state": state_of(each, lanes.get(each.id, Lane(each.id))),
            "waiting": lanes.get(each.id, Lane(each.id)).waiting_events,
            "authorization": "set" if each.auth_header else "not set",
        }
        for each in found
    ]
    return print_rows("Webhooks", rows, as_json=as_json)


@webhooks.command("delete")
def delete_webhook(webhook_id: str, *, data: Data = None) -> int:
    """Forget a webhook; batches that were cut still go out."""
    return _yes_or_no(_ask_webhooks(data, lambda kept: kept.delete(webhook_id)), "no such webhook")


@webhooks.command("secret")
def show_secret(
    webhook_id: Annotated[str, typer.Argument(metavar="ID", help="The webhook; see omni webhooks list.")],
    *,
    rotate: Annotated[bool, typer.Option("--rotate", help="Make a new one; the former sign too for a while.")] = False,
    overlap_hours: Annotated[
        int | None, typer.Option(min=0, max=OVERLAP_SECONDS_MAX // 3600, help="For how long, with --rotate; 24.")
    ] = None,
    data: Data = None,
) -> int:
    """Print the secret that a webhook's batches are signed with."""
    if overlap_hours is not None and not rotate:
        raise SettingsError("omni webhooks secret", "--overlap-hours without --rotate", "Say --rotate for a new one.")
    seconds = OVERLAP_SECONDS if overlap_hours is None else overlap_hours * 3600
    found = _ask_webhooks(
        data, lambda kept: kept.rotate(webhook_id, overlap_seconds=seconds) if rotate else kept.find(webhook_id)
    )
    if found is None:
        return _yes_or_no(False, "no such webhook")
    print(found.signing_secret)  # noqa: T201 for scripts
    return 0


@keys.command("create")
def create_key(
    *,
    name: Annotated[str, typer.Option(help="What it is for.")],
    grant: Annotated[
        list[str] | None,
        typer.Option(help=f"What it may do; several times for several, everything without: {_GRANTS}."),
    ] = None,
    subaccount: Annotated[
        int | None,
        typer.Option(min=1, max=SUBACCOUNT_ID_MAX, help="It sees and changes only what is this subaccount's."),
    ] = None,
    data: Data = None,
) -> int:
    """Make a key; it is shown this once."""
    for each in grant or ():
        if each not in GRANTS:
            raise SettingsError("omni keys create", f"the grant {each!r}", f"There are {_GRANTS}.")
    if subaccount is not None and "ingest" in (grant or ()):
        raise SettingsError("omni keys create", "ingest for a subaccount", "Only the primary account hands in events.")
    secret = _ask_keys(data, lambda kept: kept.create(name, grants=grant or None, subaccount_id=subaccount))
    print(secret)  # noqa: T201 for scripts
    return 0


@keys.command("list")
def list_keys(*, data: Data = None, as_json: AsJson = False) -> int:
    """Every key ever made, without its secret."""
    rows = [
        {
            "id": each.id,
            "name": each.name,
            "grants": "everything" if each.grants is None else ", ".join(sorted(each.grants)),
            "subaccount": each.subaccount_id,
            "revoked": each.revoked,
        }
        for each in _ask_keys(data, lambda kept: kept.all())
    ]
    return print_rows("API keys", rows, as_json=as_json)


@keys.command("revoke")
def revoke_key(key_id: str, *, data: Data = None) -> int:
    """Refuse a key from now on; what answers the API hears of it within a second."""
    return _yes_or_no(_ask_keys(data, lambda kept: kept.revoke(key_id)), "no such key, or revoked already")


@services.command("list")
def list_services(*, data: Data = None, as_json: AsJson = False) -> int:
    """The services that envelopes owe, and since when."""
    rows = [
        {"name": each.name, "owed since, ms": each.registered_at_ms or "ever", "retired": each.retired}
        for each in _ask_registry(data, lambda kept: kept.services())
    ]
    return print_rows("Services", rows, as_json=as_json)


@services.command("retire")
def retire_service(name: str, *, data: Data = None) -> int:
    """Let nothing owe this service any more: the only way in which an owed service is forgotten."""
    return _yes_or_no(_ask_registry(data, lambda kept: kept.retire(name)), "no such service")


def show_settings(*, data: Data = None, as_json: AsJson = False) -> int:
    """Every setting with its value and meaning; secrets are shown as set or not set."""
    mine = loaded(data)
    rows = []
    for name, field in settings.Settings.model_fields.items():
        value = getattr(mine, name)
        if isinstance(value, SecretStr):
            value = "set" if value.get_secret_value() else "not set"
        rows.append({"setting": f"{settings.PREFIX}{name.upper()}", "value": str(value), "meaning": field.description})
    return print_rows("Settings", rows, as_json=as_json)


def _ask_webhooks(data: Path | None, ask: Callable[[Webhooks], Awaitable[Answer]]) -> Answer:
    from omni_etl.wiring.databases import build_webhooks

    return _ask(build_webhooks, data, ask)


def _ask_deliveries(data: Path | None, ask: Callable[[Deliveries], Awaitable[Answer]]) -> Answer:
    from omni_etl.wiring.databases import build_deliveries

    return _ask(build_deliveries, data, ask)


def _ask_keys(data: Path | None, ask: Callable[[Keys], Awaitable[Answer]]) -> Answer:
    from omni_etl.wiring.databases import build_keys

    return _ask(build_keys, data, ask)


def _ask_registry(data: Path | None, ask: Callable[[Registry], Awaitable[Answer]]) -> Answer:
    from omni_etl.wiring.databases import build_registry

    return _ask(build_registry, data, ask)


def _ask(
    build: Callable[[settings.Settings, Clock], Contract],
    data: Path | None,
    ask: Callable[[Contract], Awaitable[Answer]],
) -> Answer:
    """Open one contract, ask it, close it."""
    from omni_etl.wiring.opened import opened

    async def run() -> Answer:
        async with opened(build(loaded(data), SystemClock())) as contract:
            return await ask(contract)

    return asyncio.run(run())


def print_rows(title: str, rows: list[dict[str, Any]], *, as_json: bool) -> int:
    """A table for people, or one JSON value; 0."""
    if as_json:
        print(json.dumps(rows))  # noqa: T201 for machines
        return 0
    if not rows:
        Console().print(f"{title}: none")
        return 0
    names = list(rows[0])
    # The first names a row, and is what other commands take: it stays whole however narrow the terminal.
    columns = [Column(names[0], no_wrap=True), *(Column(name, overflow="fold") for name in names[1:])]
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    Console().print(table)
    return 0


def _yes_or_no(done: object, otherwise: str) -> int:
    Console(stderr=True).print("done" if done else otherwise)
    return 0 if done else 1
