"""System: the real thing, every role a process on embedded engines in a temporary directory, and its one customer."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import urllib3

from bench.processes import Helper
from bench.row import CountsError
from omni_etl import settings as settings_module
from omni_etl import telemetry
from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.clock import SystemClock
from omni_etl.demo.sqs_queue import SqsOfTheDemo
from omni_etl.embedded.ports import free_ports
from omni_etl.embedded.up import Places, Up
from omni_etl.event import TYPES
from omni_etl.queue import Queue, queue_names
from omni_etl.settings import Settings
from omni_etl.suppression_list import SuppressionList
from omni_etl.wiring.databases import build_registry, build_suppression_list
from omni_etl.wiring.opened import opened
from omni_etl.wiring.queues import build_queue
from omni_etl.wiring.stores import build_store
from omni_etl.wiring.totals import StoreTotals, read_totals

QueueKind = Literal["sqlite", "sqs"]
LOOPBACK: Final = "127.0.0.0/8"
OK: Final = 200
ANSWER_SECONDS_MAX: Final = 30.0


@dataclass(frozen=True, slots=True)
class Running:
    """A system that serves, and connections to where events land."""

    places: Places
    settings: Settings
    store: ClickHouseStore
    entries: SuppressionList
    queue: Queue
    receiver: Helper
    receiver_url: str
    pids: dict[str, int]

    async def receipts(self) -> int:
        """Webhook events the customer has, each batch counted once."""
        return int((await asyncio.to_thread(_receipts, self.receiver_url))["events"])

    async def totals(self) -> StoreTotals:
        """What the store holds. Reading it costs the store something: ask rarely."""
        return await read_totals(self.store)

    async def envelopes(self) -> int:
        """Envelopes in every queue, leased ones too: none, when all is settled."""
        names = queue_names(self.settings.service_names)
        depths = [await self.queue.depth(name) for name in names]
        return sum(each.ready + each.leased for each in depths)


@asynccontextmanager
async def running(*, queue: QueueKind = "sqlite", **named: Any) -> AsyncIterator[Running]:
    """Start everything with these settings; stop it in order and forget its data, which is kept where counts are wrong."""
    directory = tempfile.mkdtemp(prefix="omni-bench-")
    try:
        async with _up(Path(directory), queue, named) as (up, places), _reading(up.settings, places) as found:
            yield found
    except CountsError as error:
        error.add_note(f"Its data and logs are kept in {directory}.")
        raise
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def _up(directory: Path, queue: QueueKind, named: dict[str, Any]) -> AsyncIterator[tuple[Up, Places]]:
    telemetry.configure_logs("error", "auto")
    loaded = settings_module.load(
        data_dir=directory, **{"webhooks_allow_networks": LOOPBACK, "log_level": "warning", **named}
    )
    sqs = SqsOfTheDemo(loaded) if queue == "sqs" else None
    up = Up(
        loaded,
        any_ports=True,
        clock=SystemClock(),
        rng=random.SystemRandom(),
        queue=None if sqs is None else sqs.given,
    )
    try:
        yield up, await up.start()
    finally:
        await up.stop()
        if sqs is not None:
            await sqs.delete()


@asynccontextmanager
async def _reading(settings: Settings, places: Places) -> AsyncIterator[Running]:
    async with AsyncExitStack() as ending:
        [port] = free_ports(1)
        receiver = await Helper.start("bench.receiver", str(port))
        ending.push_async_callback(receiver.stop)
        queue = build_queue(settings, SystemClock())
        ending.push_async_callback(queue.close)
        await queue.open(queue_names(settings.service_names))
        found = Running(
            places=places,
            settings=settings,
            store=await ending.enter_async_context(opened(build_store(settings))),
            entries=await ending.enter_async_context(opened(build_suppression_list(settings, SystemClock()))),
            queue=queue,
            receiver=receiver,
            receiver_url=f"http://127.0.0.1:{port}/",
            pids=await _pids(settings, places, receiver),
        )
        await asyncio.to_thread(_create_webhook, found)
        yield found


async def _pids(settings: Settings, places: Places, receiver: Helper) -> dict[str, int]:
    """Roles but ourselves, children and the customer."""
    pids = {name: pid for name, pid in places.pids.items() if name != "up"}
    async with opened(build_registry(settings, SystemClock())) as registry:
        for report in await registry.reports():
            pids |= {f"child {name}": int(pid) for name, pid in report.state.get("children", {}).items()}
    return {**pids, "customer": receiver.pid}


def _create_webhook(system: Running) -> None:
    """Through the API, as a customer would, once the customer listens."""
    _receipts(system.receiver_url)
    answer = urllib3.request(
        "POST",
        f"{system.places.api_url}/api/v1/webhooks",
        json={"name": "bench", "target": system.receiver_url + "hook", "events": sorted(TYPES)},
        headers={"Authorization": system.places.api_key},
        retries=False,
        timeout=ANSWER_SECONDS_MAX,
    )
    if answer.status != OK:
        raise CountsError(f"the API answered {answer.status} to a new webhook: {answer.data.decode()[:300]}")


def _receipts(url: str) -> dict[str, int]:
    """What the customer says, as soon as it listens."""
    retries = urllib3.Retry(total=40, backoff_factor=0.05, backoff_max=0.5)
    counts: dict[str, int] = urllib3.request("GET", url, retries=retries, timeout=ANSWER_SECONDS_MAX).json()
    return counts
