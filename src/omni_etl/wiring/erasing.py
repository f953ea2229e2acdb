"""Erasing on the engines of a system."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from omni_etl.backends.clickhouse_erasing import ClickHouseEraser
from omni_etl.backends.database.erasures import DatabaseErasures
from omni_etl.backends.database.outbox_erasing import DatabaseOutboxEraser
from omni_etl.backends.database.registry import DatabaseRegistry
from omni_etl.backends.database.suppression_list import DatabaseSuppressionList
from omni_etl.clock import SystemClock
from omni_etl.erasing import Erasing, ErasingParts
from omni_etl.erasure import Progress, Receipt
from omni_etl.settings import Settings
from omni_etl.wiring.databases import control_database, outbox_database
from omni_etl.wiring.opened import opened
from omni_etl.wiring.stores import build_store

STORE_SECONDS_MAX: Final = 3_600.0  # one call may read a whole day


@asynccontextmanager
async def open_erasing(settings: Settings, progress: Progress) -> AsyncIterator[Erasing]:
    """Everything of `omni erase`, for as long as it runs. Raises what opening an engine raises."""
    clock = SystemClock()
    control = control_database(settings, clock)
    async with AsyncExitStack() as stack:
        parts = ErasingParts(
            erasures=await stack.enter_async_context(opened(DatabaseErasures(control, clock))),
            registry=await stack.enter_async_context(opened(DatabaseRegistry(control, clock))),
            store=await stack.enter_async_context(
                opened(ClickHouseEraser(build_store(settings, timeout_seconds=STORE_SECONDS_MAX), clock))
            ),
            outbox=await stack.enter_async_context(
                opened(DatabaseOutboxEraser(outbox_database(settings, clock), clock))
            ),
            suppressions=await stack.enter_async_context(opened(DatabaseSuppressionList(control, clock))),
        )
        yield Erasing(parts, clock=clock, progress=progress)


async def read_receipts(settings: Settings) -> list[Receipt]:
    """Of every erasure, newest first."""
    clock = SystemClock()
    async with opened(DatabaseErasures(control_database(settings, clock), clock)) as erasures:
        return list(await erasures.receipts())
