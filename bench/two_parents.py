"""Two parents: how much faster a backlog goes with twice the `omni run` on one queue, in services that need little CPU.

`python -m bench.two_parents --services suppressions --events 400000 --rounds 2 [--json]`

Parents stand still until all events are in the queue, and start together. One and two take turns, because machines are not
steady; what counts is the ratio. Every run checks that nothing was lost or doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from statistics import median
from typing import Final

import msgspec
from rich.console import Console

from bench.corpus import Corpus, corpus
from bench.processes import Helper
from bench.row import CountsError
from bench.sender import Sent
from bench.settled import settled
from bench.system import Running, running
from omni_etl import settings as settings_module
from omni_etl.clock import SystemClock
from omni_etl.wiring.databases import build_registry
from omni_etl.wiring.opened import opened

EVENTS: Final = 400_000
ROUNDS: Final = 2
SERVICES: Final = "suppressions,webhooks"
CLOCK: Final = SystemClock()
READY_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.1
DRAIN_POLL_SECONDS: Final = 0.03
DRAIN_SECONDS_MAX: Final = 120.0
STEADY_SECONDS: Final = 2.0  # longer than the oldest uncut event waits


async def drained_events_per_second(load: Corpus, *, services: str, with_second: bool) -> float:
    """Events a second, from the moment the parents start until the queue holds nothing any more.

    Raises:
        CountsError: something was lost, doubled, or did not arrive in time.

    """
    async with running(services=services) as system, AsyncExitStack() as ending:
        pids = [system.places.pids["run"]]
        if with_second:
            pids.append(await ending.enter_async_context(_another_parent(system)))
        with _halted(pids):
            await _fill(system, load)
        started_at = CLOCK.monotonic()
        while await system.envelopes() and CLOCK.monotonic() - started_at < DRAIN_SECONDS_MAX:  # noqa: ASYNC110 no event for it
            await asyncio.sleep(DRAIN_POLL_SECONDS)
        seconds = CLOCK.monotonic() - started_at
        await settled(system, load)
        return load.events / seconds


@contextmanager
def _halted(pids: list[int]) -> Iterator[None]:
    """Stopped for so long. A stopped process does not notice that its starter ended, so nothing may end us between."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def _fill(system: Running, load: Corpus) -> None:
    """Everything accepted, cut and in the queue."""
    sender = await Helper.start("bench.sender", system.places.hose_url, load.directory)
    try:
        await sender.line()
        sender.go()
        sent = msgspec.json.decode(await sender.line(), type=Sent)
    finally:
        await sender.stop()
    if sent.accepted != load.events:
        raise CountsError(f"{sent.accepted} of {load.events} events were accepted")
    count, since = await system.envelopes(), CLOCK.monotonic()
    while CLOCK.monotonic() - since < STEADY_SECONDS:
        await asyncio.sleep(POLL_SECONDS)
        before, count = count, await system.envelopes()
        since = since if count == before else CLOCK.monotonic()


@asynccontextmanager
async def _another_parent(system: Running) -> AsyncIterator[int]:
    """One more `omni run` on the same engines, ready; its pid."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "omni_etl", "run", "--watch-stdin"),
        stdin=asyncio.subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, **settings_module.environment(system.settings)},
    )
    try:
        until = CLOCK.monotonic() + READY_SECONDS_MAX
        while not await _is_ready(system, process.pid):
            if process.returncode is not None or CLOCK.monotonic() > until:
                raise CountsError("the second parent does not start")
            await asyncio.sleep(POLL_SECONDS)
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _is_ready(system: Running, pid: int) -> bool:
    async with opened(build_registry(system.settings, CLOCK)) as registry:
        reports = [each.state for each in await registry.reports() if each.role == "run" and each.state["pid"] == pid]
    return bool(reports) and all(each["ready"] for each in reports[0]["services"].values())


async def compare(load: Corpus, *, services: str, rounds: int) -> dict[str, float]:
    """Medians of some rounds, and their ratio."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds):
        for with_second, found in rates.items():
            found.append(await drained_events_per_second(load, services=services, with_second=with_second))
    one, two = median(rates[False]), median(rates[True])
    return {"one_parent_events_per_second": one, "two_parents_events_per_second": two, "two_parents_ratio": two / one}


def main() -> None:
    """Compare, and show it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", default=SERVICES)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a sentence")
    wish = parser.parse_args()
    # Ended by SIGTERM as by Ctrl-C, in order: a halted parent is woken, so that it can end too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    found = asyncio.run(compare(corpus(wish.events), services=wish.services, rounds=wish.rounds))
    if wish.json:
        print(json.dumps(found))
    else:
        one, two, ratio = found.values()
        Console().print(f"{wish.services}: {one:,.0f} events/s by one parent, {two:,.0f} by two: {ratio:.2f} times.")


if __name__ == "__main__":
    main()
