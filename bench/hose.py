"""The hose alone: bulk posts over HTTP, each fsynced before it is answered, cut, sealed and sent to a SQLite queue.

`python -m bench.hose --events 600000 [--json]`
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Final

from bench.corpus import Corpus, corpus
from bench.hose_alone import hose_alone, sender, sent
from bench.processes import Costs
from bench.row import CountsError, Row
from bench.show import alone, row_of

EVENTS: Final = 600_000
HOSE: Final = "hose"
PER_CORE: Final = "hose_events_per_second_per_core"  # durable, by CPU time of the process, user and system
BYTES_PER_EVENT: Final = "bytes_per_event"  # in the queue, as AWS counts


async def run(load: Corpus) -> Row:
    """One pass of the corpus. The rate is that of durable acceptance; the cost is of all that the hose did, sending too.

    Raises:
        CountsError: accepted, sent and arrived are not the same.

    """
    with tempfile.TemporaryDirectory(prefix="omni-bench-", ignore_cleanup_errors=True) as directory:
        async with hose_alone(Path(directory)) as hose, sender(hose.url, load.directory) as helper:
            costs = Costs({HOSE: hose.pid})
            helper.go()
            told = await sent(helper)
            await hose.until_queue_has(told.accepted)
            usages = costs.so_far()
            bytes_per_event = await asyncio.to_thread(hose.bytes_in_queue) / load.events
    if told.accepted != load.events:
        raise CountsError(f"{told.accepted} of {load.events} events were accepted")
    per_core = load.events / usages[HOSE].cpu_seconds
    return row_of(
        name="hose alone",
        events=load.events,
        seconds=told.seconds,
        usages={**usages, "sender": told.usage},
        notes=f"{per_core:,.0f} events/s on one core; {bytes_per_event:.1f} bytes an event; {told.answers_full} times full",
        figures={PER_CORE: per_core, BYTES_PER_EVENT: bytes_per_event},
    )


def main() -> None:
    """One run, shown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    wish = parser.parse_args()
    alone(lambda: run(corpus(wish.events)), as_json=wish.json)


if __name__ == "__main__":
    main()
