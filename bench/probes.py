"""Probes: events that can be told apart from the load, and when each of their effects was first seen.

Times count from the hose's 200 to the end of the question that found the effect, so they are up to one pause too long.
All probes of a watch bear one time long before the load's, where the primary key finds them without reading the load.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from aiohttp import web

from bench.row import CountsError
from bench.system import Running
from omni_etl.clock import SystemClock

EFFECTS: Final = ("searchable", "counted", "suppressed", "delivered")
EVERY_SECONDS: Final = 0.25
STORE_PAUSE_SECONDS: Final = 0.1  # asking costs the store some milliseconds
API_PAUSE_SECONDS: Final = 0.05
LOST_SECONDS: Final = 90.0
SUBACCOUNT: Final = "4242"  # the load has none of it, so its webhook gets probes only
DAYS_BACK: Final = (
    20  # the first watch's probes: young enough to be taken, older than any load; a minute later for each that follows
)
OK: Final = 200
DAY_SECONDS: Final = 86_400
CLOCK: Final = SystemClock()
PROBE: Final = re.compile(rb'"event_id":"(probe-\d+-\d+)"')
SEARCH: Final = "SELECT event_id FROM message_events WHERE marker_key = '' AND timestamp = toDateTime64({time:UInt32}, 3) AND type = 'delivery'"
COUNT: Final = "SELECT DISTINCT campaign_id FROM metrics WHERE marker_key = '' AND family = 'campaign' AND minute = toStartOfMinute(toDateTime({time:UInt32}, 'UTC'))"


class Watch:
    """The probes of one rate."""

    def __init__(self, system: Running, session: aiohttp.ClientSession, number: int) -> None:
        self._system = system
        self._session = session
        self._number = number
        self._time = int(CLOCK.now()) - DAYS_BACK * DAY_SECONDS + number * 60
        self._accepted_at: dict[str, float] = {}
        self._seen_at: dict[str, dict[str, float]] = {effect: {} for effect in EFFECTS}

    @property
    def count(self) -> int:
        """Probes sent, each two events: a delivery and a bounce."""
        return len(self._accepted_at)

    async def run(self, seconds: float) -> None:
        """Send a probe now and then, and return when every effect of each was seen.

        Raises:
            CountsError: one was not, for so long that it counts as lost.

        """
        async with asyncio.timeout(seconds + LOST_SECONDS), asyncio.TaskGroup() as tasks:
            firing = tasks.create_task(self._fire(tasks, seconds))
            tasks.create_task(self._ask_store("searchable", SEARCH, firing.done))
            tasks.create_task(self._ask_store("counted", COUNT, firing.done))
            await firing
            while self._missing("delivered"):  # noqa: ASYNC110 the receiver notes it, on this loop
                await asyncio.sleep(API_PAUSE_SECONDS)

    def delivered(self, body: bytes) -> None:
        """A batch came to the customer."""
        self._see("delivered", [found.decode() for found in PROBE.findall(body)])

    def milliseconds(self) -> dict[str, dict[str, float]]:
        """p50 and p99 of each effect, from accept."""
        found = {}
        for effect, seen_at in self._seen_at.items():
            # A probe may be there before its 200 is read here.
            spans = sorted(max(0.0, at - self._accepted_at[name]) * 1000 for name, at in seen_at.items())
            found[effect] = {f"p{share}": spans[math.ceil(len(spans) * share / 100) - 1] for share in (50, 99)}
        return found

    async def _fire(self, tasks: asyncio.TaskGroup, seconds: float) -> None:
        until = CLOCK.monotonic() + seconds
        while CLOCK.monotonic() < until:
            tasks.create_task(self._probe(f"probe-{self._number}-{self.count}"))
            await asyncio.sleep(EVERY_SECONDS)

    async def _probe(self, name: str) -> None:
        self._accepted_at[name] = CLOCK.monotonic()  # counted as sent from here, and timed anew below
        url = f"{self._system.places.hose_url}/v1/events"
        while True:
            async with self._session.post(
                url, data=_lines(name, self._time), headers={"Idempotency-Key": name}
            ) as answer:
                if answer.status == OK:
                    break
            await asyncio.sleep(API_PAUSE_SECONDS)  # full: a probe begins when it is accepted
        self._accepted_at[name] = CLOCK.monotonic()
        await self._ask_api(name)

    async def _ask_api(self, name: str) -> None:
        places = self._system.places
        url = f"{places.api_url}/api/v1/suppression-list/{name}@example.net"
        headers = {"Authorization": places.api_key, "X-MSYS-SUBACCOUNT": SUBACCOUNT}
        while True:
            async with self._session.get(url, headers=headers) as answer:
                if answer.status == OK:
                    break
            await asyncio.sleep(API_PAUSE_SECONDS)
        self._see("suppressed", [name])

    async def _ask_store(self, effect: str, question: str, is_over: Callable[[], bool]) -> None:
        """All probes in one question, as long as one is missing."""
        while not is_over() or self._missing(effect):
            if self._missing(effect):
                rows = await self._system.store.query(question, {"time": self._time})
                self._see(effect, [str(name) for (name,) in rows])
            await asyncio.sleep(STORE_PAUSE_SECONDS)

    def _see(self, effect: str, names: list[str]) -> None:
        now = CLOCK.monotonic()
        for name in names:
            if name in self._accepted_at:  # else of a watch before
                self._seen_at[effect].setdefault(name, now)

    def _missing(self, effect: str) -> bool:
        return len(self._seen_at[effect]) < self.count


@asynccontextmanager
async def customer(
    system: Running, session: aiohttp.ClientSession, take: Callable[[bytes], None]
) -> AsyncIterator[None]:
    """A receiver in this process, with a webhook of its own for the subaccount of probes."""

    async def handle(request: web.Request) -> web.Response:
        take(await request.read())
        return web.Response()

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/hook", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        await _create_webhook(system, session, f"http://127.0.0.1:{runner.addresses[0][1]}/hook")
        yield
    finally:
        await runner.cleanup()


async def _create_webhook(system: Running, session: aiohttp.ClientSession, target: str) -> None:
    body: dict[str, Any] = {"name": "probes", "target": target, "events": ["delivery"]}
    headers = {"Authorization": system.places.api_key, "X-MSYS-SUBACCOUNT": SUBACCOUNT}
    async with session.post(f"{system.places.api_url}/api/v1/webhooks", json=body, headers=headers) as answer:
        if answer.status != OK:
            raise CountsError(f"the API answered {answer.status} to a new webhook: {(await answer.text())[:300]}")


def _lines(name: str, time: int) -> bytes:
    """One delivery for the bulk lane and one bounce for express."""
    both = {"timestamp": str(time), "subaccount_id": SUBACCOUNT, "rcpt_to": f"{name}@example.net", "message_id": name}
    delivery = {**both, "type": "delivery", "event_id": name, "campaign_id": name}
    bounce = {**both, "type": "bounce", "event_id": f"{name}-bounce", "bounce_class": "10", "raw_reason": "550 5.1.1"}
    return b"\n".join(json.dumps(each).encode() for each in (delivery, bounce))
