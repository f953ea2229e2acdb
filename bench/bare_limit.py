"""The bare limit: the same events into the same tables, with nothing around it.

`python -m bench.bare_limit --events 200000 --envelope-bytes 262144`

Envelopes are packed in advance. Inserters, each a process, open them, make the rows with the services' own code and insert
them over HTTP into one store host, every fsync on. There is no hose, queue, lease, ledger question, outbox, webhook or
suppression, and nobody waits for anybody. What favours this row, on purpose:

- an envelope is opened once for both tables (a real child opens it for itself);
- inserts hold up to 24,000 events, also where envelopes are small: twice what services join, and more gave no more. Nothing
  is asked before or after;
- several numbers of inserters are tried, each on a store of its own, and the best is the row.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Final

from bench import inserter
from bench.corpus import Corpus, corpus
from bench.inserter import Packed
from bench.processes import Costs, Helper
from bench.row import CountsError, Row
from bench.show import alone, row_of
from bench.store_alone import StoreAlone, store_alone
from omni_etl.clock import SystemClock
from omni_etl.envelope import Stamp, pack
from omni_etl.wiring.opened import opened
from omni_etl.wiring.stores import build_store
from omni_etl.wiring.totals import read_totals

EVENTS: Final = 200_000
ENVELOPE_BYTES: Final = 256 * 1024
INSERTERS: Final = (1, 2, 3, 4)
INSERT_EVENTS: Final = 24_000
SAMPLE_EVENTS: Final = 2_500
SAMPLES_COUNT: Final = 3
SPARE_SHARE: Final = 0.98  # some runs of events compress worse than the sample
HOSE_ID: Final = "0" * 32
TYPE_AT: Final = len(b'{"type":"')  # the corpus writes it first


async def run(
    load: Corpus,
    *,
    envelope_bytes: int = ENVELOPE_BYTES,
    insert_events: int = INSERT_EVENTS,
    inserters: Sequence[int] = INSERTERS,
    name: str = "",
) -> Row:
    """The best of these numbers of inserters.

    Raises:
        CountsError: rows are missing or too many.

    """
    envelopes = await asyncio.to_thread(packed, load, envelope_bytes)
    rows = [
        await _run_with(count, load, envelopes, insert_events=insert_events, name=name or _name(envelope_bytes))
        for count in inserters
    ]
    best = max(rows, key=lambda row: row.events_per_second)
    tried = ", ".join(f"{count}: {row.events_per_second:,.0f}/s" for count, row in zip(inserters, rows, strict=True))
    return Row(
        name=best.name,
        events=best.events,
        seconds=best.seconds,
        events_per_second=best.events_per_second,
        cpu_us_per_event=best.cpu_us_per_event,
        resident_mib_max=best.resident_mib_max,
        notes=f"{len(envelopes)} envelopes, inserts of up to {insert_events:,} events; by inserters {tried}",
    )


def packed(load: Corpus, envelope_bytes: int) -> list[Packed]:
    """The corpus in envelopes of about this size, cut by a number of events, as a hose under load cuts them."""
    lines = [line for body in load.lines() for line in body]
    count = SAMPLE_EVENTS
    for _ in range(SAMPLES_COUNT):  # how well events compress depends on how many there are
        sample = lines[:count]
        events_per_byte = len(sample) / sum(map(len, _sealed(sample, seq=1, cut_at_ms=0)))
        count = max(1, int(envelope_bytes * SPARE_SHARE * events_per_byte))
    cut_at_ms = int(SystemClock().now() * 1000)
    parts = (lines[start : start + count] for start in range(0, len(lines), count))
    return [_sealed(part, seq=seq, cut_at_ms=cut_at_ms) for seq, part in enumerate(parts, 1)]


def by_type(lines: Iterable[bytes]) -> Mapping[str, list[bytes]]:
    """Lines grouped by event type, each group in order."""
    grouped: defaultdict[str, list[bytes]] = defaultdict(list)
    for line in lines:
        grouped[type_of(line)].append(line)
    return grouped


def type_of(line: bytes) -> str:
    """The type of an event of the corpus."""
    return line[TYPE_AT : line.index(b'"', TYPE_AT)].decode()


def _sealed(lines: Sequence[bytes], *, seq: int, cut_at_ms: int) -> Packed:
    stamp = Stamp(HOSE_ID, "bulk", seq, cut_at_ms, last_seq={"bulk": seq}, accepted_count=0)
    sealed = pack(by_type(lines), stamp)
    return sealed.header, sealed.payload


async def _run_with(count: int, load: Corpus, envelopes: Sequence[Packed], *, insert_events: int, name: str) -> Row:
    with tempfile.TemporaryDirectory(prefix="omni-bench-") as directory:
        async with store_alone(Path(directory)) as store, AsyncExitStack() as ending:
            helpers: dict[str, Helper] = {}
            for number, share in enumerate(_shares(envelopes, count)):
                path = Path(directory) / f"envelopes-{number}"
                inserter.write(path, share)
                helper = await Helper.start("bench.inserter", store.url, str(path), str(insert_events))
                ending.push_async_callback(helper.stop)
                helpers[f"inserter {number + 1}"] = helper
            for each in helpers.values():
                await each.line()
            return await _timed(load, store, helpers, name=name)


def _shares(envelopes: Sequence[Packed], count: int) -> Iterator[Sequence[Packed]]:
    """Neighbours stay together, so that an insert's events are as alike as a hose's."""
    bounds = [len(envelopes) * number // count for number in range(count + 1)]
    for start, end in pairwise(bounds):
        yield envelopes[start:end]


async def _timed(load: Corpus, store: StoreAlone, helpers: Mapping[str, Helper], *, name: str) -> Row:
    clock = SystemClock()
    costs = Costs({"store": store.pid, **{each: helper.pid for each, helper in helpers.items()}})
    started_at = clock.monotonic()
    for helper in helpers.values():
        helper.go()
    inserted = sum([int(line) for line in await asyncio.gather(*(helper.line() for helper in helpers.values()))])
    seconds = clock.monotonic() - started_at
    usages = costs.so_far()
    if inserted != load.events:
        raise CountsError(f"{inserted} of {load.events} events were inserted")
    await _check(store, load)
    return row_of(name=name, events=load.events, seconds=seconds, usages=usages)


async def _check(alone_store: StoreAlone, load: Corpus) -> None:
    async with opened(build_store(alone_store.settings)) as store:
        totals = await read_totals(store)
    if totals.message_events != load.events or totals.metrics_by_type != dict(load.types):
        raise CountsError(
            f"of {load.events} events {totals.message_events} are rows, {sum(totals.metrics_by_type.values())} are counted"
        )


def _name(envelope_bytes: int) -> str:
    return f"bare limit, {envelope_bytes // 1024} KiB"


def main() -> None:
    """One run, shown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--envelope-bytes", type=int, default=ENVELOPE_BYTES)
    parser.add_argument("--insert-events", type=int, default=INSERT_EVENTS, help="1: every envelope alone")
    parser.add_argument("--inserters", type=int, nargs="+", default=INSERTERS)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    wish = parser.parse_args()
    alone(
        lambda: run(
            corpus(wish.events),
            envelope_bytes=wish.envelope_bytes,
            insert_events=wish.insert_events,
            inserters=wish.inserters,
        ),
        as_json=wish.json,
    )


if __name__ == "__main__":
    main()
