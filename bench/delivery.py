"""Delivery to many customers: what a thousand webhooks cost, and what ninety that hang cost the ten that are well.

`python -m bench.delivery [--seconds 20]`. Events are sent at a steady rate, so figures are latencies and costs, no rates.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from rich.console import Console

from bench.processes import Costs, Helper
from bench.row import CountsError
from bench.show import EXIT_FAILED, end_in_order, explain
from bench.system import Running, running
from omni_etl.clock import SystemClock
from omni_etl.embedded.ports import free_ports
from omni_etl.errors import OmniError
from omni_etl.webhook import Webhook
from omni_etl.wiring.databases import build_webhooks
from omni_etl.wiring.opened import opened

SECONDS: Final = 20.0
MANY: Final = 1_000  # webhooks, each of another subaccount
MANY_RATE: Final = 4_000  # events/s, shared by all of them
HEALTHY, HANGING = 10, 90
FEW_RATE: Final = (
    150  # events/s, wanted by each webhook: of an envelope a second, a batch and a rest that is closed by age
)
POST_SECONDS: Final = 0.05
SETTLE_SECONDS: Final = 5.0  # until a new mix of customers has shown its manners
CLOCK: Final = SystemClock()
CHILD: Final = "child webhooks"


async def measure(seconds: float, console: Console) -> dict[str, Any]:
    """Figures under `delivery` in results.json.

    Raises:
        CountsError: an event came twice, or not at all.

    """
    with console.status("delivery: a thousand webhooks"):
        many = await _many(seconds)
    with console.status("delivery: ten customers, then ninety more who hang"):
        alone, beside = await _beside_hanging(seconds)
    return {"delivery": {"thousand_webhooks": many, "healthy_alone_ms": alone, "healthy_beside_hanging_ms": beside}}


async def _many(seconds: float) -> dict[str, Any]:
    async with running() as system, _customers() as (customers, url):
        wanted = [_webhook(f"many-{n}", f"{url}many/{n}", subaccount_id=n + 1) for n in range(MANY)]
        await _keep(system, wanted)
        await _figures(url)
        costs = Costs(system.pids)
        sent = await _send(system, rate=MANY_RATE, seconds=seconds, subaccounts=MANY)
        figures = await _received(url, sent)
        usage = costs.so_far()[CHILD]
    del customers
    return {
        "events": sent,
        "batches": figures["batches"],
        "events_a_batch": round(sent / figures["batches"], 1),
        "ms": figures["ms"],
        "cpu_us_per_event": round(usage.cpu_seconds / sent * 1e6, 1),
    }


async def _beside_hanging(seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    async with running() as system, _customers() as (_, url):
        await _keep(system, [_webhook(f"well-{n}", f"{url}well/{n}") for n in range(HEALTHY)])
        await _send(system, rate=FEW_RATE, seconds=SETTLE_SECONDS)
        await asyncio.sleep(SETTLE_SECONDS)
        await _figures(url)
        sent = await _send(system, rate=FEW_RATE, seconds=seconds)
        alone = (await _received(url, sent * HEALTHY))["ms"]
        await _keep(system, [_webhook(f"hang-{n}", f"{url}hang/{n}") for n in range(HANGING)])
        await _send(system, rate=FEW_RATE, seconds=SETTLE_SECONDS)
        await asyncio.sleep(SETTLE_SECONDS)
        await _figures(url)
        sent = await _send(system, rate=FEW_RATE, seconds=seconds)
        beside = (await _received(url, sent * HEALTHY))["ms"]
    return alone, beside


@asynccontextmanager
async def _customers() -> AsyncIterator[tuple[Helper, str]]:
    [port] = free_ports(1)
    helper = await Helper.start("bench.customers", str(port))
    url = f"http://127.0.0.1:{port}/"
    try:
        await _figures(url)
        yield helper, url
    finally:
        await helper.stop()


async def _figures(url: str) -> dict[str, Any]:
    """What came since the last time, as soon as somebody answers."""
    async with aiohttp.ClientSession() as session:
        for _ in range(100):
            try:
                async with session.get(url) as answer:
                    found: dict[str, Any] = json.loads(await answer.read())
                    return found
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.1)
    raise CountsError("the customers do not answer")


async def _received(url: str, events: int) -> dict[str, Any]:
    """Until all have come, each once."""
    total: dict[str, Any] = {"batches": 0, "events": 0, "repeats": 0, "ms": {}}
    for _ in range(60):
        await asyncio.sleep(SETTLE_SECONDS if not total["events"] else 1.0)
        found = await _figures(url)
        for name in ("batches", "events", "repeats"):
            total[name] += found[name]
        total["ms"] = total["ms"] or found["ms"]  # the few that come after the first look tell of the look
        if total["events"] >= events:
            break
    if total["events"] != events:
        raise CountsError(f"{total['events']} of {events} events came to the customers that are well")
    return total


async def _keep(system: Running, wanted: list[Webhook]) -> None:
    """Straight into the table: the API would try each target first."""
    async with opened(build_webhooks(system.settings, CLOCK)) as kept:
        for webhook in wanted:
            await kept.put(webhook)


def _webhook(name: str, target: str, *, subaccount_id: int = -1) -> Webhook:
    return Webhook(name, name, target, frozenset({"delivery"}), subaccount_id=subaccount_id)


async def _send(system: Running, *, rate: int, seconds: float, subaccounts: int = 0) -> int:
    """At a steady rate; how many were accepted."""
    url, began, sent = f"{system.places.hose_url}/v1/events", CLOCK.monotonic(), 0
    async with aiohttp.ClientSession() as session:
        while (passed := CLOCK.monotonic() - began) < seconds:
            count = int(rate * min(passed + POST_SECONDS, seconds)) - sent
            body = "\n".join(_event(sent + number, subaccounts) for number in range(count))
            async with session.post(url, data=body.encode()) as answer:
                if answer.status != 200:  # noqa: PLR2004 HTTP's
                    raise CountsError(f"the hose answered {answer.status}")
            sent += count
            await asyncio.sleep(max(0.0, began + sent / rate - CLOCK.monotonic()))
    return sent


def _event(number: int, subaccounts: int) -> str:
    event = {
        "type": "delivery",
        "timestamp": str(int(CLOCK.now())),
        "event_id": f"{int(CLOCK.now() * 1e6)}-{number}",
        "rcpt_to": f"r{number}@example.com",
        "subject": f"sent {CLOCK.monotonic():.6f}",
    }
    if subaccounts:
        event["subaccount_id"] = str(number % subaccounts + 1)
    return json.dumps(event, separators=(",", ":"))


def main() -> None:
    """Measure, and show it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each part")
    wish = parser.parse_args()
    end_in_order()
    try:
        found = asyncio.run(measure(wish.seconds, Console(stderr=True)))
    except (CountsError, OmniError) as error:
        explain(error)
        sys.exit(EXIT_FAILED)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
