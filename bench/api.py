"""The API on ten million stored events, while more come in: how long searches, time series and suppression checks take.

`python -m bench.api [--events 1000000] [--seconds 20] [--json]`; ten times as many events are stored as are sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
from rich.console import Console
from rich.table import Table

from bench.asker import SHARES, Questions, Told
from bench.corpus import corpus
from bench.processes import Costs, Helper
from bench.row import CountsError
from bench.show import EXIT_FAILED, end_in_order, explain
from bench.stored import fill
from bench.system import Running, running
from omni_etl.clock import SystemClock
from omni_etl.errors import OmniError

EVENTS: Final = 1_000_000
SECONDS: Final = 40.0
LOAD_EVENTS_PER_SECOND: Final = 10_000
LOAD_BODY_EVENTS: Final = 250
STRETCHED: Final = 20  # the corpus tells of an hour; so events of each day lie in most of its hours
WARM_SECONDS: Final = 3.0
PER_SECOND: Final = {"search_recipient": 1.0, "search_message": 1.0, "time_series": 1.0, "suppression_check": 1_000.0}
SAMPLE: Final = """
SELECT rcpt_to, message_id FROM message_events
WHERE marker_key = '' AND message_id != '' AND cityHash64(message_id) % 50021 = 7 LIMIT 200
"""
PATH: Final = "/api/v1"


async def measure(events: int, seconds: float, console: Console) -> dict[str, Any]:
    """Fill, load, ask everything at once; figures under `api` in results.json.

    Raises:
        CountsError: something was answered with another status, or found nothing.

    """
    load = corpus(events, stretched=STRETCHED)
    more = corpus(round(LOAD_EVENTS_PER_SECOND * (seconds + WARM_SECONDS)), body_events=LOAD_BODY_EVENTS)
    async with running() as system:
        with console.status(f"api: storing {events * 10:,} events"):
            stored = await fill(system, load)
        paths = await _paths(system)
        pacer = await Helper.start(
            "bench.pacer",
            *(system.places.hose_url, more.directory, "--skip", "0", "--count", str(more.bodies_count)),
            *("--bodies-per-second", str(LOAD_EVENTS_PER_SECOND / LOAD_BODY_EVENTS)),
        )
        with console.status("api: asking"):
            try:
                await pacer.line()
                pacer.go()
                await asyncio.sleep(WARM_SECONDS)
                costs = Costs(system.pids)
                told = await asyncio.gather(*(_ask(system, name, each, seconds) for name, each in paths.items()))
                cost = {name: each.cpu_seconds / seconds for name, each in costs.so_far().items()}
            finally:
                await pacer.stop()
    found = {name: each.milliseconds for name, each in told}
    return {"api_ms": found, "api_stored_events": stored, "api_cores": cost}


async def _paths(system: Running) -> dict[str, list[str]]:
    rows = await system.store.query(SAMPLE)
    now = datetime.fromtimestamp(SystemClock().now(), UTC)
    days_10, days_30 = (f"{now - timedelta(days=days):%Y-%m-%dT%H:%M}" for days in (10, 30))
    entries = [entry.recipient for (recipient, _) in rows for entry in await system.entries.check(str(recipient))]
    checked = [*entries, *(str(recipient) for recipient, _ in rows)]
    random.Random(1).shuffle(checked)
    metrics = "count_injected,count_sent,count_bounce,count_accepted,count_unique_confirmed_opened"
    return {
        "search_recipient": [f"{PATH}/events/message?from={days_10}&recipients={quote(str(each))}" for each, _ in rows],
        "search_message": [f"{PATH}/events/message?from={days_10}&messages={quote(str(each))}" for _, each in rows],
        "time_series": [
            f"{PATH}/metrics/deliverability/time-series?from={days_30}&precision={precision}&metrics={metrics}"
            for precision in ("hour", "day")
        ],
        "suppression_check": [f"{PATH}/suppression-list/{quote(each)}" for each in checked],
    }


async def _ask(system: Running, name: str, paths: list[str], seconds: float) -> tuple[str, Told]:
    places = system.places
    questions = Questions(places.api_url, places.api_key, paths, PER_SECOND[name], seconds)
    with tempfile.NamedTemporaryFile() as file:
        await asyncio.to_thread(Path(file.name).write_bytes, msgspec.json.encode(questions))
        asker = await Helper.start("bench.asker", file.name)
        try:
            await asker.line()
            asker.go()
            told = msgspec.json.decode(await asker.line(), type=Told)
        finally:
            await asker.stop()
    allowed = {"200", "404"} if name == "suppression_check" else {"200"}
    if set(told.statuses) - allowed:
        raise CountsError(f"{name} was answered with {told.statuses}")
    return name, told


def table(found: dict[str, Any]) -> Table:
    """One line for each kind of question."""
    title = f"The API on {found['api_stored_events']:,} events, ms, while {LOAD_EVENTS_PER_SECOND:,} a second come in"
    shown = Table("question", *(f"p{share}" for share in SHARES), title=title, title_justify="left")
    for name, spans in found["api_ms"].items():
        shown.add_row(name.replace("_", " "), *(f"{spans[f'p{share}']:,.1f}" for share in SHARES))
    shown.caption = ", ".join(f"{name} {cores:.2f} cores" for name, cores in found["api_cores"].items())
    return shown


def main() -> None:
    """Measure, and show it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS, help="sent; ten times as many are stored")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of asking")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    wish = parser.parse_args()
    console = Console(stderr=wish.json)
    end_in_order()
    try:
        found = asyncio.run(measure(wish.events, wish.seconds, console))
    except (CountsError, OmniError) as error:
        explain(error)
        sys.exit(EXIT_FAILED)
    if wish.json:
        print(json.dumps(found))
    else:
        console.print(table(found))


if __name__ == "__main__":
    main()
