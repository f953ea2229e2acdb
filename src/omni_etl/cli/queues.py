"""`omni queues create | describe | delete`: the SQS queues, and who may do what with them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer
from rich.console import Console
from rich.table import Column, Table

from omni_etl import settings
from omni_etl.clock import SystemClock

if TYPE_CHECKING:
    from omni_etl.backends.sqs import Provisioner
    from omni_etl.backends.sqs.standing import Standing

Answer = TypeVar("Answer")
AsJson = Annotated[bool, typer.Option("--json", help="One JSON value: queues and policies.")]
SHOWN: Final = {
    "ready": "ApproximateNumberOfMessages",
    "leased": "ApproximateNumberOfMessagesNotVisible",
    "kept, s": "MessageRetentionPeriod",
    "bytes max": "MaximumMessageSize",
}

queues = typer.Typer(help="The queues at SQS (OMNI_QUEUE_URL=sqs://).", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(queues, name="queues", rich_help_panel="Look and mend")


@queues.command("create")
def create(*, as_json: AsJson = False) -> int:
    """Make every queue that is missing and mend what differs; may be repeated. Prints a policy for each role."""
    made = _with_provisioner(lambda provisioner: provisioner.create())
    return _print({each.name: each for each in made}, as_json=as_json)


@queues.command("describe")
def describe(*, as_json: AsJson = False) -> int:
    """Show every queue and a policy for each role. Exit code 1 where a queue is missing."""
    return _print(_with_provisioner(lambda provisioner: provisioner.describe()), as_json=as_json)


@queues.command("delete")
def delete(
    *, yes: Annotated[bool, typer.Option("--yes", help="Really, with everything that lies in them.")] = False
) -> int:
    """Delete every queue with everything that lies in it."""
    console = Console(stderr=True)
    if not yes:
        console.print("This deletes every queue with the envelopes and dead letters in it. Say --yes to do it.")
        return 1
    gone = _with_provisioner(lambda provisioner: provisioner.delete())
    console.print(f"Deleted: {', '.join(gone) or 'nothing'}. SQS takes a minute until the names are free again.")
    return 0


def _with_provisioner(ask: Callable[[Provisioner], Awaitable[Answer]]) -> Answer:
    from omni_etl.wiring.queues import build_provisioner

    async def run() -> Answer:
        provisioner = build_provisioner(settings.load(), SystemClock())
        try:
            return await ask(provisioner)
        finally:
            await provisioner.close()

    return asyncio.run(run())


def _print(found: dict[str, Standing | None], *, as_json: bool) -> int:
    from omni_etl.backends.sqs.policies import policies

    for_roles = policies({name: each.arn for name, each in found.items() if each is not None})
    if as_json:
        rows = {name: each and {"url": each.url, **each.attributes} for name, each in found.items()}
        print(json.dumps({"queues": rows, "policies": for_roles}))  # noqa: T201 for machines
    else:
        Console().print(_table(found))
        for role, policy in for_roles.items():
            print(f"\nIAM policy for {role}:\n{json.dumps(policy, indent=2)}")  # noqa: T201 to be copied whole
    return int(None in found.values())


def _table(found: dict[str, Standing | None]) -> Table:
    columns = [Column(name, no_wrap=True) for name in ("queue", *SHOWN, "encryption", "redrive")]
    table = Table(*columns, title="Queues", title_justify="left")
    for name, each in found.items():
        if each is None:
            table.add_row(name, "[bold red]missing")
            continue
        shown = [each.attributes.get(attribute, "") for attribute in SHOWN.values()]
        table.add_row(name, *shown, _encryption(each.attributes), _redrive(each.attributes.get("RedrivePolicy", "")))
    return table


def _encryption(attributes: dict[str, str]) -> str:
    if attributes.get("KmsMasterKeyId"):
        return "SSE-KMS"
    return "SSE-SQS" if attributes.get("SqsManagedSseEnabled", "").lower() == "true" else "[yellow]none"


def _redrive(policy: str) -> str:
    if not policy:
        return ""
    said = json.loads(policy)
    return f"{said['maxReceiveCount']} receives → {said['deadLetterTargetArn'].rpartition(':')[2]}"
