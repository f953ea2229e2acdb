"""Latency: from the hose's 200 to each service's effect, at 10, 50 and 90 % of a given end-to-end rate.

`python -m bench.latency --rate 20000 --seconds 20 [--queue sqs] [--json]`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections import Counter
from dataclasses import dataclass, replace
from typing import Final, get_args

import aiohttp
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from bench.corpus import Corpus, corpus
from bench.probes import EFFECTS, Watch, customer
from bench.processes import Helper
from bench.row import CountsError
from bench.sender import Sent
from bench.settled import settled
from bench.system import QueueKind, Running, running

SHARES: Final = (10, 50, 90)  # percent of the rate
BODY_EVENTS: Final = 250  # small bodies, so that the load is steady and not a gust every second
WARM_SECONDS: Final = 3.0  # of load before the first probe: first inserts of a process are slow
DRAIN_PAUSE_SECONDS: Final = 0.2
EXIT_FAILED: Final = 1


@dataclass(frozen=True, slots=True)
class AtShare:
    """What was seen at one share of the rate."""

    offered_events_per_second: float
    accepted_events_per_second: float
    probes: int
    milliseconds: dict[str, dict[str, float]]


async def measure(rate: float, seconds: float, *, queue: QueueKind = "sqlite") -> dict[int, AtShare]:
    """One system, one share after another, each on an empty queue.

    Raises:
        CountsError: a probe was lost, or what landed in the end is not what was sent.

    """
    load = corpus(round(rate * seconds * sum(SHARES) / 100), body_events=BODY_EVENTS)
    found: dict[int, AtShare] = {}
    watches: list[Watch] = []
    async with (
        running(queue=queue) as system,
        aiohttp.ClientSession() as session,
        customer(system, session, lambda body: watches[-1].delivered(body) if watches else None),
    ):
        skip = 0
        for number, share in enumerate(SHARES):
            is_last = number == len(SHARES) - 1
            count = load.bodies_count - skip if is_last else round(load.bodies_count * share / sum(SHARES))
            watches.append(Watch(system, session, number))
            found[share] = await _at(rate * share / 100, (skip, count), system=system, load=load, watch=watches[-1])
            skip += count
        await settled(system, _with_probes(load, sum(each.count for each in watches)))
    return found


async def _at(rate: float, bodies: tuple[int, int], *, system: Running, load: Corpus, watch: Watch) -> AtShare:
    skip, count = bodies
    per_second = rate / load.body_events
    pacer = await Helper.start(
        "bench.pacer",
        *(system.places.hose_url, load.directory),
        *("--skip", str(skip), "--count", str(count), "--bodies-per-second", str(per_second)),
    )
    try:
        await pacer.line()
        pacer.go()
        await asyncio.sleep(WARM_SECONDS)
        try:
            await watch.run(max(1.0, count / per_second - WARM_SECONDS))
        except TimeoutError:
            raise CountsError(f"at {rate:,.0f} events/s a probe was not seen everywhere in time") from None
        sent = msgspec.json.decode(await pacer.line(), type=Sent)
    finally:
        await pacer.stop()
    while await system.envelopes():  # noqa: ASYNC110 a queue tells nobody that it is empty
        await asyncio.sleep(DRAIN_PAUSE_SECONDS)
    return AtShare(rate, sent.accepted / sent.seconds, watch.count, watch.milliseconds())


def _with_probes(load: Corpus, probes: int) -> Corpus:
    """What must have landed in the end: each probe is a delivery and a bounce, and suppresses one address."""
    return replace(
        load,
        events=load.events + 2 * probes,
        types=dict(Counter(load.types) + Counter(delivery=probes, bounce=probes)),
        suppressions=load.suppressions + probes,
    )


def results(found: dict[int, AtShare]) -> dict[str, object]:
    """As `bench/results.json` has it: latency_ms.{share}.{effect}.{p50,p99}."""
    return {"latency_ms": {str(share): each.milliseconds for share, each in found.items()}}


def table(found: dict[int, AtShare]) -> Table:
    """One line for each share."""
    columns = ("%", "events/s", "n", *EFFECTS)
    shown = Table(*columns, title="From accept, ms: p50 / p99", title_justify="left", box=box.SIMPLE_HEAD)
    shown.pad_edge, shown.padding = False, (0, 0)
    for column in shown.columns:
        column.justify, column.no_wrap = "right", True
    for share, each in found.items():
        spans = [
            f"{each.milliseconds[effect]['p50']:,.0f} / {each.milliseconds[effect]['p99']:,.0f}" for effect in EFFECTS
        ]
        shown.add_row(str(share), f"{each.accepted_events_per_second:,.0f}", str(each.probes), *spans)
    return shown


def main() -> None:
    """Measure, and show it; exit code 1 where counts did not agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, required=True, help="events a second that the system does end to end")
    parser.add_argument("--seconds", type=float, default=20.0, help="at each share")
    parser.add_argument("--queue", choices=get_args(QueueKind), default="sqlite")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    wish = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends in order, as Ctrl-C does
    try:
        found = asyncio.run(measure(wish.rate, wish.seconds, queue=wish.queue))
    except CountsError as error:
        Console(stderr=True).print("[bold red]bench:[/]", str(error), *getattr(error, "__notes__", []), soft_wrap=True)
        sys.exit(EXIT_FAILED)
    if wish.json:
        print(json.dumps(results(found)))
    else:
        Console().print(table(found))


if __name__ == "__main__":
    main()
