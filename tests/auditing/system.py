"""A hose, its envelopes, and every service's real ledger: what audits are tested on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests import builders

from omni_etl.audit import Report
from omni_etl.auditing import Auditing, AuditParts
from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.backends.clickhouse_audit import ClickHouseLedgers
from omni_etl.backends.database import (
    DatabaseOutbox,
    DatabaseRegistry,
    DatabaseSuppressionList,
    open_database,
)
from omni_etl.backends.database.audit import DatabaseLedgers
from omni_etl.backends.database.dead_letters import DatabaseDeadLetters
from omni_etl.backends.memory import MemoryQueue
from omni_etl.clock import ManualClock, SystemClock
from omni_etl.envelope import Envelope, Lane, SealedEnvelope, Stamp, open_header, open_payload, pack
from omni_etl.outbox import Cut
from omni_etl.queue import queue_names
from omni_etl.service import Deadline
from omni_etl.services.message_events import MessageEvents
from omni_etl.services.metrics import Metrics
from omni_etl.services.suppressions import sayings_of

SERVICES = ("message_events", "metrics", "suppressions", "webhooks")
HOUR_MS = 3_600_000


@dataclass
class Hose:
    """Cuts envelopes as a hose does."""

    clock: ManualClock
    hose_id: str = builders.HOSE_ID
    accepted: int = 0
    last: dict[str, int] = field(default_factory=lambda: {"express": 0, "bulk": 0})

    def cut(self, lane: Lane, lines: Sequence[bytes] = (), *, closing: bool = False) -> SealedEnvelope:
        """The next one."""
        self.last[lane] += 1
        self.accepted += len(lines)
        by_type: dict[str, list[bytes]] = {}
        for line in lines:
            by_type.setdefault(line.split(b'"type":"')[1].split(b'"')[0].decode(), []).append(line)
        stamp = Stamp(
            self.hose_id, lane, self.last[lane], int(self.clock.now() * 1000), dict(self.last), self.accepted, closing
        )
        return pack(by_type, stamp)


@dataclass
class System:
    """Ledgers, a queue in memory, and who audits them."""

    clock: ManualClock
    store: ClickHouseStore
    queue: MemoryQueue
    registry: DatabaseRegistry
    letters: DatabaseDeadLetters
    outbox: DatabaseOutbox
    suppressions: DatabaseSuppressionList
    auditing: Auditing
    databases: tuple[Any, Any]

    async def work(self, sealed: SealedEnvelope, services: Sequence[str] = SERVICES) -> Envelope:
        """What these services do with an envelope."""
        found = open_payload(open_header(sealed.header), sealed.payload)
        real = SystemClock()
        for service in (MessageEvents(self.store, clock=self.clock), Metrics(self.store, clock=self.clock)):
            if service.name in services:
                await service.apply(found, Deadline(real, real.monotonic() + 60))
        if "suppressions" in services and found.header.types:
            await self.suppressions.apply(found, list(sayings_of(found)))
        if "webhooks" in services:
            await self.outbox.put(found, Cut([], []))
        return found

    async def audit(self, *, hours: int = 24, **how: int) -> Report:
        """Of the last so many hours."""
        return await self.auditing.audit(int(self.clock.now() * 1000) - hours * HOUR_MS, **how)

    async def run(self, statement: str) -> None:
        """By hand, in the store."""
        await self.store.command(statement)


@asynccontextmanager
async def system(
    store_url: str, database_url: str, kept_days: Mapping[str, int] | None = None
) -> AsyncIterator[System]:
    """An empty one, on real time as a start: the store judges by its own."""
    clock = ManualClock(SystemClock().now())
    control, outbox = (open_database(database_url, part, clock) for part in ("control", "outbox"))
    store = ClickHouseStore(store_url, timeout_seconds=30)
    queue = MemoryQueue(clock)
    registry, letters = DatabaseRegistry(control, clock), DatabaseDeadLetters(control, clock)
    ledgers, database = ClickHouseLedgers(store), DatabaseLedgers(control, outbox)
    parts = AuditParts(
        queue=queue,
        registry=registry,
        dead_letters=letters,
        store=ledgers,
        database=database,
        kept_days=kept_days or {},
    )
    subject = System(
        clock=clock,
        store=store,
        queue=queue,
        registry=registry,
        letters=letters,
        outbox=DatabaseOutbox(outbox, clock),
        suppressions=DatabaseSuppressionList(control, clock),
        auditing=Auditing(parts, clock=clock),
        databases=(control, outbox),
    )
    opened: list[Any] = [registry, letters, subject.outbox, subject.suppressions, ledgers, database]
    for each in opened:
        await each.open()
    await queue.open(queue_names(SERVICES))
    await registry.register(SERVICES)
    yield subject
    for each in opened:
        await each.close()
