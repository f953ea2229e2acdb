"""A consumer fleet of one for one service: `python -m bench.rabbitmq_consumer SERVICE PORT STORE_URL DIRECTORY HOOK`.

It batches what its queue delivers, makes the effect, acknowledges once that is durable, and then says how many events it
has done so far. Effects are made by the services' own code, without ledgers, leases and outbox: the batch is handed to it as
an envelope that was never packed.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import uvloop

from bench.frames import CHANNEL, Deliveries, acknowledgement
from bench.rabbitmq_topology import EXCHANGE, connect
from omni_etl import outbox
from omni_etl import settings as settings_module
from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.backends.http import AiohttpPoster
from omni_etl.clock import SystemClock
from omni_etl.envelope import Envelope, Header, TypeRange
from omni_etl.event import TYPES
from omni_etl.services import message_events
from omni_etl.services.metrics import families
from omni_etl.services.suppressions import sayings_of
from omni_etl.services.webhooks.attempt import headers_of
from omni_etl.services.webhooks.match import cut
from omni_etl.webhook import Webhook
from omni_etl.wiring.databases import build_suppression_list

BATCH_EVENTS: Final = 5_000
BATCH_SECONDS: Final = 1.0
IDLE_SECONDS: Final = 0.1  # nothing came for so long: what is here goes
PREFETCH_EVENTS: Final = 2 * BATCH_EVENTS  # the next batch comes in while one is being written
READ_BYTES: Final = 1024 * 1024
CONSUMER_TAG: Final = "bench"
TIMEOUT_SECONDS: Final = 60.0
POSTS_AT_ONCE: Final = 32
UNTIL_SECONDS: Final = 3_600
HOSE_ID: Final = "0" * 32
CLOCK: Final = SystemClock()


class Effect(Protocol):
    """What a service does with a batch."""

    async def open(self) -> None:
        """Connect."""
        ...

    async def apply(self, batch: Envelope) -> None:
        """Return when it is durable."""
        ...


class Insert:
    """Rows in a table of the store."""

    def __init__(self, table: str, columns: Callable[[Envelope], Any], url: str) -> None:
        self._table = table
        self._columns = columns
        self._store = ClickHouseStore(url, timeout_seconds=TIMEOUT_SECONDS)

    async def open(self) -> None:
        """Connect."""
        await self._store.open()

    async def apply(self, batch: Envelope) -> None:
        """One insert."""
        token = f"{batch.key}-{self._table}"
        await self._store.insert(self._table, self._columns(batch), token=token, until=CLOCK.now() + UNTIL_SECONDS)


class Posts:
    """Batches of a hundred to the customer."""

    def __init__(self, target: str) -> None:
        self._webhook = Webhook("bench", "bench", target, TYPES)
        self._poster = AiohttpPoster(
            refusal=lambda *_: None, timeout_seconds=TIMEOUT_SECONDS, connections_max=POSTS_AT_ONCE, clock=CLOCK
        )

    async def open(self) -> None:
        """Make the connection pool."""
        await self._poster.open()

    async def apply(self, batch: Envelope) -> None:
        """All at once, as far as there are connections."""
        found = cut(batch, [self._webhook])
        now_ms = int(CLOCK.now() * 1000)
        bodies = [(each.body, headers_of(each, self._webhook, now_ms=now_ms)) for each in found.batches]
        for rest in found.segments:  # it joins nothing: what was consumed together goes together
            alone = outbox.Batch(
                rest.name, self._webhook.id, self._webhook.target, {}, b"[%b]" % rest.elements, rest.event_count
            )
            bodies.append((alone.body, headers_of(alone, self._webhook, now_ms=now_ms)))
        answers = await asyncio.gather(*(self._poster.post(self._webhook.target, *each) for each in bodies))
        assert all(each.ok for each in answers), "a customer that refuses is not part of this run"


class Suppress:
    """Upserts in the list."""

    def __init__(self, directory: Path) -> None:
        self._list = build_suppression_list(settings_module.load(data_dir=directory), CLOCK)

    async def open(self) -> None:
        """Connect."""
        await self._list.open()

    async def apply(self, batch: Envelope) -> None:
        """One transaction."""
        await self._list.say(list(sayings_of(batch)))


class Batch:
    """Deliveries by their type, until it is time."""

    def __init__(self) -> None:
        self.count = 0
        self.begun_at = 0.0
        self._lines: defaultdict[str, list[bytes]] = defaultdict(list)

    def add(self, deliveries: Sequence[tuple[bytes, bytes]], now: float) -> None:
        """In order; the routing key says the type, so that no event is parsed for it."""
        if not self.count:
            self.begun_at = now
        for key, line in deliveries:
            self._lines[key.rpartition(b".")[2].decode()].append(line)
        self.count += len(deliveries)

    def is_due(self, now: float, *, is_idle: bool) -> bool:
        """Large or old enough, or nothing more is coming."""
        return self.count > 0 and (is_idle or self.count >= BATCH_EVENTS or now - self.begun_at >= BATCH_SECONDS)

    def as_envelope(self, seq: int) -> Envelope:
        """As a service takes it."""
        return envelope_of(self._lines, seq=seq, cut_at_ms=int(CLOCK.now() * 1000))


def envelope_of(lines_by_type: Mapping[str, Sequence[bytes]], *, seq: int, cut_at_ms: int) -> Envelope:
    """Header and lines, with neither compression nor checksum."""
    ranges: list[TypeRange] = []
    parts: list[bytes] = []
    start = 0
    for type_name, lines in lines_by_type.items():
        parts.append(b"\n".join((*lines, b"")))
        ranges.append(TypeRange(type_name, len(lines), start, len(parts[-1])))
        start += len(parts[-1])
    header = Header(
        hose_id=HOSE_ID,
        lane="bulk",
        seq=seq,
        cut_at_ms=cut_at_ms,
        event_count=sum(each.count for each in ranges),
        raw_bytes=start,
        checksum="",
        types=tuple(ranges),
        last_seq={"bulk": seq},
        accepted_count=0,
    )
    return Envelope(header, b"".join(parts))


def consume(queue: str, port: int, apply: Callable[[Envelope], None]) -> None:
    """Until the connection ends."""
    connection = connect(port)
    channel = connection.channel(CHANNEL)
    channel.basic_qos(0, PREFETCH_EVENTS, a_global=False)
    stream = connection.transport.sock
    stream.settimeout(IDLE_SECONDS)
    channel.basic_consume(queue, consumer_tag=CONSUMER_TAG, nowait=True)
    deliveries, batch, done, seq = Deliveries(EXCHANGE, CONSUMER_TAG), Batch(), 0, 0
    print("ready", flush=True)
    while True:
        try:
            received, is_idle = stream.recv(READ_BYTES), False
            if not received:
                return
        except TimeoutError:
            received, is_idle = b"", True
        batch.add(deliveries.feed(received), CLOCK.monotonic())
        if batch.is_due(CLOCK.monotonic(), is_idle=is_idle):
            seq += 1
            apply(batch.as_envelope(seq))
            done += batch.count
            stream.sendall(acknowledgement(done))
            batch = Batch()
            print(done, flush=True)


def effect_of(service: str, *, store_url: str, directory: Path, hook: str) -> Effect:
    """What this service does."""
    match service:
        case "metrics":
            return Insert("metrics", families.columns, store_url)
        case "message_events":
            return Insert("message_events", message_events.columns, store_url)
        case "webhooks":
            return Posts(hook)
        case _:
            return Suppress(directory)


def main() -> None:
    """One consumer."""
    service, port, store_url, directory, hook = sys.argv[1:]
    effect = effect_of(service, store_url=store_url, directory=Path(directory), hook=hook)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(effect.open())
        consume(service, int(port), lambda batch: runner.run(effect.apply(batch)))


if __name__ == "__main__":
    main()
