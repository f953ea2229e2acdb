"""The audit of a system on its engines, opened for as long as one audit takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from omni_etl.audit import AUDITED, LATE_SECONDS, Report
from omni_etl.auditing import Auditing, AuditParts
from omni_etl.backends.clickhouse_audit import ClickHouseLedgers
from omni_etl.backends.database.audit import DatabaseLedgers
from omni_etl.backends.database.dead_letters import DatabaseDeadLetters
from omni_etl.backends.database.registry import DatabaseRegistry
from omni_etl.clock import Clock, SystemClock
from omni_etl.queue import queue_names
from omni_etl.settings import Settings
from omni_etl.wiring.databases import control_database, outbox_database
from omni_etl.wiring.opened import opened
from omni_etl.wiring.queues import build_queue
from omni_etl.wiring.stores import build_store

STORE_SECONDS_MAX: Final = 600.0  # one call may read all markers, or the rows of a day


class SystemAudits:
    """Audits of the system that settings name."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def audit(self, since_ms: int, *, late_seconds: int = LATE_SECONDS) -> Report:
        """Look now. Raises what opening an engine raises."""
        clock = SystemClock()
        async with _opened_parts(self._settings, clock) as parts:
            return await Auditing(parts, clock=clock).audit(since_ms, late_seconds=late_seconds)

    async def last(self) -> dict[str, Any] | None:
        """As a parent reported it."""
        clock = SystemClock()
        async with opened(DatabaseRegistry(control_database(self._settings, clock), clock)) as registry:
            found = [each for each in await registry.reports() if each.role == AUDITED]
        return found[0].state if found else None


@asynccontextmanager
async def _opened_parts(settings: Settings, clock: Clock) -> AsyncIterator[AuditParts]:
    control, outbox = control_database(settings, clock), outbox_database(settings, clock)
    queue = build_queue(settings, clock)
    store = build_store(settings, timeout_seconds=STORE_SECONDS_MAX)
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(opened(DatabaseRegistry(control, clock)))
        letters = await stack.enter_async_context(opened(DatabaseDeadLetters(control, clock)))
        database = await stack.enter_async_context(opened(DatabaseLedgers(control, outbox)))
        ledgers = await stack.enter_async_context(opened(ClickHouseLedgers(store)))
        await queue.open(queue_names([each.name for each in await registry.services() if not each.retired]))
        stack.push_async_callback(queue.close)
        yield AuditParts(
            queue=queue,
            registry=registry,
            dead_letters=letters,
            store=ledgers,
            database=database,
            kept_days={
                "message_events": settings.retention_events_days,
                "suppressions": settings.retention_events_days,  # which are judged by message_events
                "metrics": settings.retention_hours_days,
            },
        )
