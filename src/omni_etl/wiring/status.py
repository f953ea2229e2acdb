"""What `omni status` shows: each engine asked, each role's last word, each queue's depth. Nothing here waits for long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, Final

import msgspec
import urllib3

from omni_etl.clock import SystemClock
from omni_etl.errors import OmniError, UnavailableError
from omni_etl.queue import queue_names
from omni_etl.settings import Settings
from omni_etl.wiring.databases import build_outbox, build_registry, build_suppression_list
from omni_etl.wiring.opened import opened
from omni_etl.wiring.queues import build_queue
from omni_etl.wiring.stores import build_store
from omni_etl.wiring.totals import read_totals

ANSWER_SECONDS_MAX: Final = 5.0
DEAD_LETTERS_SHOWN_MAX: Final = 20


async def read_status(settings: Settings) -> dict[str, Any]:
    """One picture of the system; a part that does not answer shows its reason instead."""
    parts = {
        "hose": _hose,
        "fleet": _fleet,
        "queues": _queues,
        "outbox": _outbox,
        "suppressions": _suppressions,
        "store": _store,
    }
    answers = await asyncio.gather(*(_asked(ask, settings) for ask in parts.values()))
    return dict(zip(parts, answers, strict=True))


async def _asked(ask: Callable[[Settings], Awaitable[dict[str, Any]]], settings: Settings) -> dict[str, Any]:
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            return await ask(settings)
    except TimeoutError:
        return {"away": f"no answer in {ANSWER_SECONDS_MAX:g} s"}
    except OmniError as error:
        return {"away": str(error)}


async def _hose(settings: Settings) -> dict[str, Any]:
    url = f"http://{settings.hose_host}:{settings.hose_port}/health"
    try:
        answer = await asyncio.to_thread(urllib3.request, "GET", url, timeout=ANSWER_SECONDS_MAX, retries=False)
    except urllib3.exceptions.HTTPError as error:
        raise UnavailableError(f"{url}: {error}") from None
    try:
        said: dict[str, Any] = msgspec.json.decode(answer.data, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise UnavailableError(f"{url}: HTTP {answer.status}, which is not a hose's answer") from None
    return said


async def _fleet(settings: Settings) -> dict[str, Any]:
    clock = SystemClock()
    async with opened(build_registry(settings, clock)) as registry:
        now_ms = int(clock.now() * 1000)
        return {
            "services": [asdict(each) for each in await registry.services()],
            "roles": [
                {
                    "role": each.role,
                    "instance": each.instance,
                    "seen_seconds_ago": round((now_ms - each.seen_at_ms) / 1000, 1),
                    **each.state,
                }
                for each in await registry.reports()
            ],
            "dead_letters": [asdict(each) for each in (await registry.dead_letters())[:DEAD_LETTERS_SHOWN_MAX]],
        }


async def _queues(settings: Settings) -> dict[str, Any]:
    queue = build_queue(settings, SystemClock())
    names = queue_names(settings.service_names)
    await queue.open(names)
    try:
        return {name: asdict(await queue.depth(name)) for name in names}
    finally:
        await queue.close()


async def _outbox(settings: Settings) -> dict[str, Any]:
    async with opened(build_outbox(settings, SystemClock())) as outbox:
        return asdict(await outbox.counts())


async def _suppressions(settings: Settings) -> dict[str, Any]:
    async with opened(build_suppression_list(settings, SystemClock())) as entries:
        return {"entries": await entries.count()}


async def _store(settings: Settings) -> dict[str, Any]:
    async with opened(build_store(settings)) as store:
        totals = await read_totals(store)
        return {"message_events": totals.message_events, "metrics": sum(totals.metrics_by_type.values())}
