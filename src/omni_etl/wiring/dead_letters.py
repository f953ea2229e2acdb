"""Dead letters of a system: their queues, and what the database knows of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from omni_etl.backends.database.dead_letters import DatabaseDeadLetters
from omni_etl.clock import Clock, SystemClock
from omni_etl.dead_letters import DeadLetters
from omni_etl.errors import SettingsError
from omni_etl.queue import UNREADABLE, Queue, dead_letters, queue_names
from omni_etl.settings import Settings
from omni_etl.wiring.databases import control_database
from omni_etl.wiring.opened import opened
from omni_etl.wiring.queues import build_queue

NOBODY = UNREADABLE.removeprefix(dead_letters(""))
"""In place of a service, for what no service could be named for."""


@dataclass(frozen=True, slots=True)
class Mortuary:
    """Where dead letters are."""

    queue: Queue
    known: DeadLetters
    services: Sequence[str]
    clock: Clock


@asynccontextmanager
async def open_dead_letters(settings: Settings, service: str | None = None) -> AsyncIterator[Mortuary]:
    """Those of one service, or of all that settings name and of nobody.

    Raises:
        SettingsError: no such service; or what opening an engine raises.

    """
    names = [*settings.service_names, NOBODY]
    if service is not None and service not in names:
        raise SettingsError("omni dead-letters", f"no service {service!r}", f"There are {', '.join(names)}.")
    clock = SystemClock()
    queue = build_queue(settings, clock)
    async with opened(DatabaseDeadLetters(control_database(settings, clock), clock)) as known:
        await queue.open(queue_names(settings.service_names))
        try:
            yield Mortuary(queue, known, names if service is None else [service], clock)
        finally:
            await queue.close()
