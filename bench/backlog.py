"""Backlog: from a spam complaint at the hose to "suppressed" at the check, while an hour of bulk events waits and more come in.

`python -m bench.backlog [--events 3600000]`. The parent stands still until the backlog is in the queue. It works off what is
urgent of it first; then complaints are sent, at full load, while bulk events still wait.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import signal
import sys
from typing import Any, Final

import aiohttp
from rich.console import Console

from bench.corpus import corpus
from bench.processes import Helper
from bench.row import CountsError
from bench.show import EXIT_FAILED, end_in_order, explain
from bench.system import Running, running
from omni_etl.clock import SystemClock
from omni_etl.errors import OmniError

EVENTS: Final = 3_600_000  # an hour of a thousand a second
PROBES: Final = 200
EVERY_SECONDS: Final = 0.15
PAUSE_SECONDS: Final = 0.01
LOST_SECONDS: Final = 120.0
OK: Final = 200
CLOCK: Final = SystemClock()


async def measure(events: int, console: Console) -> dict[str, Any]:
    """Figures under `backlog` in results.json.

    Raises:
        CountsError: a complaint had no effect for so long that it counts as lost, or the backlog was gone too early.

    """
    load = corpus(events)
    async with running() as system, aiohttp.ClientSession() as session:
        with console.status(f"backlog: {events:,} events while nobody receives"):
            await _wait_up(system, load.directory)
        waiting = await _bulk(system)
        sender = await Helper.start("bench.sender", system.places.hose_url, load.directory)
        try:
            await sender.line()
            sender.go()
            os.kill(system.pids["run"], signal.SIGCONT)
            with console.status("backlog: what is urgent of the hour"):
                urgent_seconds = await _urgent_done(system)
            with console.status("backlog: complaints"):
                milliseconds = await _complain(system, session)
        finally:
            await sender.stop()
        left = await _bulk(system)
    if not left:
        raise CountsError("the backlog was worked off before the last complaint: there was too little of it")
    spans = {f"p{share}": milliseconds[math.ceil(len(milliseconds) * share / 100) - 1] for share in (50, 99)}
    found = {"suppressed_ms": spans, "bulk_envelopes_before": waiting, "bulk_envelopes_after": left}
    return {"backlog": {**found, "urgent_backlog_seconds": round(urgent_seconds, 1)}}


async def _wait_up(system: Running, directory: str) -> None:
    os.kill(system.pids["run"], signal.SIGSTOP)
    sender = await Helper.start("bench.sender", system.places.hose_url, directory)
    try:
        await sender.line()
        sender.go()
        await sender.line()
    finally:
        await sender.stop()
    before = -1
    while (now := await _bulk(system)) != before:  # until the hose has sent what it holds
        before = now
        await asyncio.sleep(1.0)


async def _urgent_done(system: Running) -> float:
    """The express lane was left for an hour, too, which no backlog of bulk events does to it: seconds until it is current."""
    began = CLOCK.monotonic()
    while (await system.queue.depth("express")).ready:
        await CLOCK.sleep(PAUSE_SECONDS)
    return CLOCK.monotonic() - began


async def _bulk(system: Running) -> int:
    depth = await system.queue.depth("bulk")
    return depth.ready + depth.leased


async def _complain(system: Running, session: aiohttp.ClientSession) -> list[float]:
    """From the hose's 200 to the API's, sorted, in ms."""
    async with asyncio.timeout(PROBES * EVERY_SECONDS + LOST_SECONDS), asyncio.TaskGroup() as tasks:
        made = []
        for number in range(PROBES):
            made.append(tasks.create_task(_complaint(system, session, f"complaint-{number}")))
            await asyncio.sleep(EVERY_SECONDS)
    return sorted(each.result() for each in made)


async def _complaint(system: Running, session: aiohttp.ClientSession, name: str) -> float:
    event = {
        "type": "spam_complaint",
        "timestamp": str(int(CLOCK.now())),
        "event_id": name,
        "rcpt_to": f"{name}@example.net",
    }
    places = system.places
    while True:
        async with session.post(f"{places.hose_url}/v1/events", data=json.dumps(event)) as answer:
            if answer.status == OK:
                break
        await asyncio.sleep(PAUSE_SECONDS)  # full: it begins when it is accepted
    accepted_at = CLOCK.monotonic()
    url = f"{places.api_url}/api/v1/suppression-list/{name}@example.net"
    while True:
        async with session.get(url, headers={"Authorization": places.api_key}) as answer:
            if answer.status == OK:
                return (CLOCK.monotonic() - accepted_at) * 1000
        await asyncio.sleep(PAUSE_SECONDS)


def main() -> None:
    """Measure, and show it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS, help="that wait, and come again meanwhile")
    wish = parser.parse_args()
    console = Console(stderr=True)
    end_in_order()
    try:
        found = asyncio.run(measure(wish.events, console))
    except (CountsError, OmniError) as error:
        explain(error)
        sys.exit(EXIT_FAILED)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
