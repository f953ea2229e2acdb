"""End to end: the whole way, all four services and a customer, from the first request until everything is settled.

`python -m bench.end_to_end --queue sqlite --envelope-bytes 262144 --events 300000 [--json]`
"""

from __future__ import annotations

import argparse
from typing import Final, get_args

import msgspec

from bench.corpus import Corpus, corpus
from bench.processes import Costs, Helper
from bench.row import CountsError, Row
from bench.sender import Sent
from bench.settled import settled
from bench.show import alone, row_of
from bench.system import QueueKind, running

EVENTS: Final = 300_000
ENVELOPE_BYTES: Final = 256 * 1024


async def run(load: Corpus, *, queue: QueueKind = "sqlite", envelope_bytes: int = ENVELOPE_BYTES) -> Row:
    """One pass of the corpus through a system of its own.

    Raises:
        CountsError: something was lost, doubled, or did not arrive in time.

    """
    async with running(queue=queue, envelope_bytes=envelope_bytes) as system:
        sender = await Helper.start("bench.sender", system.places.hose_url, load.directory)
        try:
            await sender.line()
            costs = Costs(system.pids)
            sender.go()
            sent = msgspec.json.decode(await sender.line(), type=Sent)
            settled_at = await settled(system, load)
            usages = costs.so_far()
        finally:
            await sender.stop()
    if sent.accepted != load.events:
        raise CountsError(f"{sent.accepted} of {load.events} events were accepted")
    return row_of(
        name=f"end to end, {queue}, {envelope_bytes // 1024} KiB",
        events=load.events,
        seconds=settled_at - sent.started_at,
        usages={**usages, "sender": sent.usage},
        notes=f"accepted at {load.events / sent.seconds:,.0f}/s; {sent.answers_full} times full",
    )


def main() -> None:
    """One run, shown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queue", choices=get_args(QueueKind), default="sqlite")
    parser.add_argument("--envelope-bytes", type=int, default=ENVELOPE_BYTES)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    wish = parser.parse_args()
    alone(
        lambda: run(corpus(wish.events), queue=wish.queue, envelope_bytes=wish.envelope_bytes),
        as_json=wish.json,
    )


if __name__ == "__main__":
    main()
