"""`omni dead-letters list | show | redrive | discard`: envelopes that a service gave up, and the two ways out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from omni_etl.cli.manage import AsJson, print_rows
from omni_etl.cli.status import Data, loaded
from omni_etl.errors import SettingsError

if TYPE_CHECKING:
    from omni_etl.queue import Lease
    from omni_etl.supervisor.redrive import Choice, Mending, Went
    from omni_etl.wiring.dead_letters import Mortuary

COMMAND: Final = "omni dead-letters"
LINES_SHOWN: Final = 10
UNKNOWN: Final = "not known"

dead_letters = typer.Typer(
    help="Envelopes that one service gave up, with the reason; the others have them.", no_args_is_help=True
)

Service = Annotated[str, typer.Argument(help="Whose; `unreadable`: those that no service could be named for.")]
OneKey = Annotated[str | None, typer.Option("--key", help="Only this envelope.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(dead_letters, name="dead-letters", rich_help_panel="Look and mend")


@dead_letters.command("list")
def list_dead_letters(*, data: Data = None, as_json: AsJson = False) -> int:
    """How many envelopes each service gave up for which reason, and how many lie in its queue."""
    return print_rows("Dead letters", asyncio.run(_rows(data)), as_json=as_json)


@dead_letters.command("show")
def show(
    key: Annotated[str, typer.Argument(help="The envelope, as `omni status` and the log line name it.")],
    *,
    service: Annotated[str | None, typer.Option(help="Whose; all that gave it up without.")] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Every event, not the first ten.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> int:
    """Why an envelope was given up, its header, and its events as they came. It stays where it is."""
    found = asyncio.run(_find(data, key, service, None if show_all else LINES_SHOWN))
    if not found:
        Console(stderr=True).print(f"no dead letter {key}", highlight=False)
        return 1
    if as_json:
        print(json.dumps(found))  # noqa: T201 for machines
    else:
        for each in found:
            _print_letter(each)
    return 0


@dead_letters.command("redrive")
def redrive(
    service: Service,
    *,
    key: OneKey = None,
    count: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    data: Data = None,
) -> int:
    """Put dead letters back, into the siding of their service, when what killed them is mended. Nothing counts twice."""
    went = asyncio.run(_move(data, service, (key, count), lambda mending, choice: mending.redrive(choice)))
    where = "their lanes" if service == "unreadable" else f"the siding of {service}"
    Console().print(f"{went.envelopes} envelopes went back to {where}.")
    return int(key is not None and not went.envelopes)


@dead_letters.command("discard")
def discard(
    service: Service,
    *,
    key: OneKey = None,
    every: Annotated[bool, typer.Option("--all", help="Every dead letter of this service.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Really: their events are lost to this service for good.")] = False,
    data: Data = None,
) -> int:
    """Give dead letters up for good. What went is counted, and `omni audit` says that it was discarded."""
    if (key is None) is not every:
        raise SettingsError(f"{COMMAND} discard", "not one of --key and --all", "Say which: --key KEY, or --all.")
    if not yes:
        meant = "every dead letter" if every else f"the dead letter {key}"
        said = f"This discards {meant} of {service}: its events are lost to that service. Say --yes to do it."
        Console(stderr=True).print(said, highlight=False)
        return 1
    went = asyncio.run(_move(data, service, (key, None), lambda mending, choice: mending.discard(choice)))
    Console().print(f"{went.envelopes} envelopes with {went.events} events were discarded.")
    return int(key is not None and not went.envelopes)


async def _rows(data: Path | None) -> list[dict[str, Any]]:
    from omni_etl.queue import dead_letters as queue_of
    from omni_etl.wiring.dead_letters import open_dead_letters

    rows: list[dict[str, Any]] = []
    async with open_dead_letters(loaded(data)) as mortuary:
        counts, now = await mortuary.known.counts(), mortuary.clock.now()
        for service in mortuary.services:
            depth = await mortuary.queue.depth(queue_of(service))
            mine = [each for each in counts if each.service == service]
            lies = {"service": service, "in queue": depth.ready + depth.leased}
            rows += [
                {**lies, "reason": each.reason or UNKNOWN, "envelopes": each.count}
                | {"oldest, s": round(max(0.0, now - each.oldest_at_ms / 1000))}
                for each in mine
            ]
            if lies["in queue"] and not mine:
                rows.append({**lies, "reason": UNKNOWN, "envelopes": lies["in queue"], "oldest, s": None})
    return rows


async def _find(data: Path | None, key: str, service: str | None, lines_max: int | None) -> list[dict[str, Any]]:
    from omni_etl.supervisor.dead_letters import Letters, name_of
    from omni_etl.wiring.dead_letters import open_dead_letters

    found = []
    async with open_dead_letters(loaded(data), service) as mortuary:
        burying = await mortuary.known.services_of(key)
        for name in [each for each in mortuary.services if each in burying] or mortuary.services:
            async with Letters(mortuary.queue, name, clock=mortuary.clock) as letters:
                async for lease in letters:
                    if name_of(lease.envelope) == key:
                        found.append(await _described(mortuary, name, key, lease, lines_max))
                        break
    return found


async def _described(mortuary: Mortuary, service: str, key: str, lease: Lease, lines_max: int | None) -> dict[str, Any]:
    from omni_etl.supervisor.dead_letters import lines_of

    burial = await mortuary.known.find(service, key)
    lines = lines_of(lease.envelope)
    return {
        "service": service,
        "key": key,
        "reason": (burial and burial.reason) or UNKNOWN,
        "died_at_ms": burial and burial.died_at_ms,
        "receives": lease.receive_count,
        "header": lease.envelope.header,
        "events_readable": lines is not None,
        "events": [each.decode() for each in islice(lines or [], lines_max)],
    }


def _print_letter(letter: dict[str, Any]) -> None:
    console = Console()
    for name in ("service", "key", "reason", "header"):
        console.print(f"[bold]{name}[/]: {escape(str(letter[name]))}", highlight=False, soft_wrap=True)
    if not letter["events_readable"]:
        console.print("[yellow]Its events cannot be read.[/]")
    for line in letter["events"]:
        print(line)  # noqa: T201 as it came, to be piped on


async def _move(
    data: Path | None,
    service: str,
    which: tuple[str | None, int | None],
    move: Callable[[Mending, Choice], Coroutine[Any, Any, Went]],
) -> Went:
    """No more than lie there now: what comes back while this runs was killed again."""
    from omni_etl.queue import dead_letters as queue_of
    from omni_etl.supervisor.redrive import Choice, Mending
    from omni_etl.wiring.dead_letters import open_dead_letters

    key, count = which
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    async with open_dead_letters(loaded(data), service) as mortuary:
        depth = await mortuary.queue.depth(queue_of(service))
        count_max = min(depth.ready + depth.leased, count or depth.ready + depth.leased)
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(service, total=count_max)
            mending = Mending(mortuary.queue, mortuary.known, clock=mortuary.clock, on_one=lambda: bar.advance(task))
            return await move(mending, Choice(service, count_max, key))
