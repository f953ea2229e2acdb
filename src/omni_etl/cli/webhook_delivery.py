"""`omni webhooks show | pause | resume | retry | attempts | replay`: how delivery goes, and what to do about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from omni_etl.cli.manage import AsJson, print_rows, webhooks
from omni_etl.cli.status import Data, loaded
from omni_etl.clock import SystemClock
from omni_etl.errors import SettingsError

if TYPE_CHECKING:
    from omni_etl.deliveries import Deliveries
    from omni_etl.replay import Replay, Replays
    from omni_etl.webhook import Webhook, Webhooks

CLOCK: Final = SystemClock()
LOOK_SECONDS: Final = 0.5
RETRIES_AT_ONCE: Final = 500
EVENTS_PER_SECOND: Final = 1_000
Answer = TypeVar("Answer")
Which = Annotated[str, typer.Argument(metavar="ID", help="The webhook; see omni webhooks list.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands, among those of `manage` that say which webhooks there are."""
    del app
    for name, command in (
        ("show", show),
        ("pause", pause),
        ("resume", resume),
        ("retry", retry),
        ("attempts", attempts),
        ("replay", replay),
        ("replays", replays),
    ):
        webhooks.command(name)(command)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What these commands speak to."""

    webhooks: Webhooks
    deliveries: Deliveries
    replays: Replays


def show(webhook_id: Which, *, data: Data = None, as_json: AsJson = False) -> int:
    """How delivery to it goes: state, what waits and since when, failures, when it would be stopped."""
    from omni_etl.api.webhook_delivery import described
    from omni_etl.outbox import Lane

    async def ask(kept: _Kept, webhook: Webhook) -> dict[str, Any]:
        lanes = await kept.deliveries.lanes([webhook.id])
        oldest = await kept.deliveries.oldest([webhook.id])
        lane, now_ms = lanes.get(webhook.id, Lane(webhook.id)), int(CLOCK.now() * 1000)
        return described(webhook, lane, oldest_ms=oldest.get(webhook.id), now_ms=now_ms)

    found = _of(data, webhook_id, ask)
    if as_json:
        print(json.dumps(found))  # noqa: T201 for machines
        return 0
    rows = [{"": name.replace("_", " "), "is": _said(value)} for name, value in found.items()]
    return print_rows("Delivery", rows, as_json=False)


def pause(webhook_id: Which, *, data: Data = None) -> int:
    """Make no attempts until it is resumed; its events are kept meanwhile, up to the limit of the backlog."""
    from omni_etl.api.webhook_delivery import PAUSED

    _of(data, webhook_id, lambda kept, webhook: kept.deliveries.stop(webhook.id, PAUSED))
    Console(stderr=True).print("paused")
    return 0


def resume(webhook_id: Which, *, data: Data = None) -> int:
    """Go on from where it stopped: after a pause, a 410, or five days without success."""
    done = _of(data, webhook_id, lambda kept, webhook: kept.deliveries.resume(webhook.id))
    Console(stderr=True).print("resumed" if done else "nothing held it up")
    return 0


def retry(webhook_id: Which, *, data: Data = None) -> int:
    """Try now: batches that were given up, as if they were fresh, and those that wait for their next attempt."""

    async def every(kept: _Kept, webhook: Webhook) -> int:
        total = 0
        while count := await kept.deliveries.retry(webhook.id, count_max=RETRIES_AT_ONCE):
            total += count
        return total

    Console(stderr=True).print(f"{_of(data, webhook_id, every)} batches are tried now")
    return 0


def attempts(
    webhook_id: Which,
    *,
    batch: Annotated[str | None, typer.Option(help="Attempts of this batch alone.")] = None,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    data: Data = None,
    as_json: AsJson = False,
) -> int:
    """Every attempt of the last day, newest first."""
    from omni_etl.api.webhook_delivery import moment

    notes = _of(
        data,
        webhook_id,
        lambda kept, webhook: kept.deliveries.attempts(webhook.id, count_max=count, batch_id=batch),
    )
    rows = [
        {
            "batch": each.batch_id,
            "events": each.event_count,
            "attempt": each.number,
            "at": moment(each.at_ms),
            "outcome": each.kind,
            "answer": each.answer,
            "said": each.excerpt,
            "ms": each.latency_ms,
            "next": moment(each.next_at_ms) or "",
        }
        for each in notes
    ]
    return print_rows("Attempts", rows, as_json=as_json)


def replay(
    webhook_id: Which,
    *,
    since: Annotated[str, typer.Option("--from", help="From this time on: 2026-11-01T12:00Z.")],
    until: Annotated[str | None, typer.Option("--to", help="Before this time; now, where it is left out.")] = None,
    rate: Annotated[int, typer.Option(min=1, max=10_000, help="Events a second.")] = EVENTS_PER_SECOND,
    detach: Annotated[bool, typer.Option(help="Do not wait for its end.")] = False,
    data: Data = None,
) -> int:
    """Send its events of a time range once more, under new batch ids; prints the job's id.

    Ctrl-C ends the waiting, not the job: `omni webhooks replays ID --cancel JOB` does.
    """
    from omni_etl.api.webhook_replays import new_replay

    now_ms = int(CLOCK.now() * 1000)
    from_ms, to_ms = _moment("--from", since), now_ms if until is None else _moment("--to", until)
    if from_ms >= to_ms:
        raise SettingsError("omni webhooks replay", "a range that ends before it begins", "Give an earlier --from.")

    async def begin(kept: _Kept, webhook: Webhook) -> int:
        job = new_replay(webhook.id, from_ms=from_ms, to_ms=to_ms, events_per_second=rate, now_ms=now_ms)
        await kept.replays.begin(job)
        print(job.id)  # noqa: T201 for scripts
        return 0 if detach else await _watch(kept.replays, job)

    return _of(data, webhook_id, begin)


def replays(
    webhook_id: Which,
    *,
    cancel: Annotated[str | None, typer.Option(metavar="JOB", help="End this job.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> int:
    """Its replays, newest first, and how far each is."""
    from omni_etl.api.webhook_replays import shown

    if cancel is not None:
        done = _of(data, webhook_id, lambda kept, webhook: kept.replays.cancel(webhook.id, cancel))
        Console(stderr=True).print("cancelled" if done else "no such job, or it is over")
        return 0 if done else 1
    jobs = _of(data, webhook_id, lambda kept, webhook: kept.replays.of_webhook(webhook.id, count_max=1_000))
    return print_rows("Replays", [shown(each) for each in jobs], as_json=as_json)


async def _watch(kept: Replays, job: Replay) -> int:
    """A bar until it is over."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("counting", total=None)
        now: Replay | None = job
        while now is not None and now.state == "waiting":
            await CLOCK.sleep(LOOK_SECONDS)
            now = await kept.find(job.webhook_id, job.id)
            if now is not None:
                said = now.trouble or ("counting" if now.estimate is None else "replaying")
                progress.update(task, description=said, total=now.estimate, completed=now.found)
    Console(stderr=True).print("gone" if now is None else f"{now.state}: {now.sent} events in {now.batches} batches")
    return 0 if now is not None and now.state == "done" else 1


def _of(data: Path | None, webhook_id: str, ask: Callable[[_Kept, Webhook], Awaitable[Answer]]) -> Answer:
    """Open what is spoken to, find the webhook, ask.

    Raises:
        SettingsError: there is no such webhook.

    """
    from omni_etl.backends.database.deliveries import DatabaseDeliveries
    from omni_etl.backends.database.replays import DatabaseReplays
    from omni_etl.wiring.databases import build_webhooks, outbox_database
    from omni_etl.wiring.opened import opened

    async def run() -> Answer:
        settings = loaded(data)
        part = outbox_database(settings, CLOCK)
        async with AsyncExitStack() as stack:
            kept = _Kept(
                await stack.enter_async_context(opened(build_webhooks(settings, CLOCK))),
                await stack.enter_async_context(opened(DatabaseDeliveries(part, CLOCK))),
                await stack.enter_async_context(opened(DatabaseReplays(part, CLOCK))),
            )
            webhook = await kept.webhooks.find(webhook_id)
            if webhook is None:
                raise SettingsError("omni webhooks", f"no webhook {webhook_id!r}", "See omni webhooks list.")
            return await ask(kept, webhook)

    return asyncio.run(run())


def _moment(name: str, text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(name, repr(text), "Write 2026-11-01T12:00Z.") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_said(each)}" for name, each in value.items())
    return "-" if value is None else str(value)
