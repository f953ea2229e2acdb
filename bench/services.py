"""Each service alone: a queue of sealed envelopes, and one parent with the one child, until all is settled.

`python -m bench.services metrics --events 300000 [--json]`
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Final

from bench.bare_limit import packed
from bench.corpus import Corpus, corpus
from bench.inserter import Packed
from bench.processes import Costs
from bench.row import CountsError, Row
from bench.settled import settled
from bench.show import alone, row_of
from bench.system import Running, running
from omni_etl.clock import SystemClock
from omni_etl.envelope import SealedEnvelope
from omni_etl.queue import batches

EVENTS: Final = 300_000
ENVELOPE_BYTES: Final = 256 * 1024
ENVELOPE_BYTES_MAX: Final = 1024 * 1024
SERVICES: Final = ("metrics", "message_events", "suppressions", "webhooks")
IDLE: Final = frozenset({"hose", "api", "sender"})  # serve, and have nothing to do with it


async def run(load: Corpus, service: str, *, envelope_bytes: int = ENVELOPE_BYTES) -> Row:
    """One service from a full queue. Putting envelopes there takes a fraction of a second, and counts.

    Raises:
        CountsError: what landed is not what was in the queue.

    """
    async with running(services=service, envelope_bytes=envelope_bytes) as system:
        # Only now, because an envelope owes the services that were registered before its cut.
        envelopes = await asyncio.to_thread(packed, load, envelope_bytes)
        costs = Costs({name: pid for name, pid in system.pids.items() if name not in IDLE})
        started_at = SystemClock().monotonic()
        await _fill(system, envelopes)
        settled_at = await settled(system, load)
        usages = costs.so_far()
    return row_of(
        name=f"{service} alone",
        events=load.events,
        seconds=settled_at - started_at,
        usages=usages,
        notes=f"{len(envelopes)} envelopes",
    )


async def _fill(system: Running, envelopes: list[Packed]) -> None:
    at_once = max(
        1, min(system.queue.limits.batch_count_max, system.queue.limits.batch_bytes_max // ENVELOPE_BYTES_MAX)
    )
    for batch in batches([SealedEnvelope(*each) for each in envelopes], at_once):
        failures = await system.queue.send("bulk", batch)
        if failures:
            raise CountsError(f"the queue refused envelopes: {failures}")


def main() -> None:
    """One run, shown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("service", choices=SERVICES)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--envelope-bytes", type=int, default=ENVELOPE_BYTES)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    wish = parser.parse_args()
    alone(lambda: run(corpus(wish.events), wish.service, envelope_bytes=wish.envelope_bytes), as_json=wish.json)


if __name__ == "__main__":
    main()
