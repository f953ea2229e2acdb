"""One inserter of the bare limit: `python -m bench.inserter STORE_URL FILE INSERT_EVENTS`.

It says "ready" when its envelopes are in memory, begins at a line on its standard input, says how many events it inserted,
and stays until it is ended, so that its costs can be read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import uvloop

from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.clock import SystemClock
from omni_etl.envelope import Envelope, Header, open_header, open_payload
from omni_etl.services import message_events
from omni_etl.services.metrics import families
from omni_etl.wiring.opened import opened

TABLES: Final[dict[str, Callable[[Envelope], Any]]] = {
    "message_events": message_events.columns,
    "metrics": families.columns,
}
TIMEOUT_SECONDS: Final = 60.0
UNTIL_SECONDS: Final = 3_600  # no lease to come late for

Packed = tuple[str, bytes]  # header and payload of an envelope


class _Packed(msgspec.Struct, array_like=True):
    envelopes: list[Packed]


def write(path: Path, envelopes: Sequence[Packed]) -> None:
    """For an inserter to read."""
    path.write_bytes(msgspec.msgpack.encode(_Packed(list(envelopes))))


def grouped(envelopes: Sequence[Packed], events_max: int) -> Iterator[list[tuple[Header, bytes]]]:
    """Envelopes that share an insert: in order, at least one, and more only up to so many events."""
    group: list[tuple[Header, bytes]] = []
    count = 0
    for text, payload in envelopes:
        header = open_header(text)
        if group and count + header.event_count > events_max:
            yield group
            group, count = [], 0
        group.append((header, payload))
        count += header.event_count
    if group:
        yield group


async def insert_all(store: ClickHouseStore, envelopes: Sequence[Packed], *, events_max: int) -> int:
    """Open each envelope once, make its rows and insert them; answers the number of events."""
    clock = SystemClock()
    inserted = 0
    for group in grouped(envelopes, events_max):
        opened_group = [open_payload(header, payload) for header, payload in group]
        for table, columns in TABLES.items():
            rows = pa.concat_tables([columns(each) for each in opened_group])
            token = f"{opened_group[0].key}-{table}"
            await store.insert(table, rows, token=token, until=clock.now() + UNTIL_SECONDS)
        inserted += sum(header.event_count for header, _ in group)
    return inserted


def read(path: Path) -> list[Packed]:
    """What `write` wrote."""
    return msgspec.msgpack.decode(path.read_bytes(), type=_Packed).envelopes


async def main(url: str, envelopes: Sequence[Packed], events_max: int) -> None:
    """Wait for the word, insert, and say how much."""
    async with opened(ClickHouseStore(url, timeout_seconds=TIMEOUT_SECONDS)) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        inserted = await insert_all(store, envelopes, events_max=events_max)
        print(inserted, flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], read(Path(sys.argv[2])), int(sys.argv[3])))
