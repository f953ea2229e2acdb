"""Aside: envelopes that one service cannot take now go to its siding, those it gave up to its dead letters.

Order: send (confirmed) → mark → delete. A crash repeats a step, so a siding may hold copies; the ledger makes them one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from omni_etl import telemetry
from omni_etl.backoff import Backoff
from omni_etl.clock import Clock
from omni_etl.envelope import SealedEnvelope
from omni_etl.errors import UnavailableError
from omni_etl.queue import UNREADABLE, Lease, Queue, dead_letters, siding
from omni_etl.registry import Registry
from omni_etl.supervisor.held import Held
from omni_etl.supervisor.settle import delete_copied


@dataclass(frozen=True, slots=True)
class Setting:
    """One envelope on its way out of one service's hands."""

    held: Held
    service: str
    mark: Literal["sided", "dead"]
    reason: str


class Aside:
    """What the queue does not take is tried again as long as the lease is held, and holds up no other.

    Leases bound how many try. Held, not the deadline, is what counts: whoever gives up a lease that another part of the
    parent still renews would leave the envelope in nobody's hands until the queue renews no more.
    """

    def __init__(
        self,
        *,
        queue: Queue,
        registry: Registry,
        clock: Clock,
        rng: random.Random,
        held: Collection[Held],
        on_aside: Callable[[Setting], None],
    ) -> None:
        self._queue = queue
        self._registry = registry
        self._clock = clock
        self._rng = rng
        self._held = held
        self._on_aside = on_aside
        self._backoff = Backoff(first_seconds=0.2, wait_seconds_max=5.0)
        self._waiting: asyncio.Queue[Setting] = asyncio.Queue()

    def put(self, setting: Setting) -> None:
        """Set this aside as soon as the queue takes it."""
        setting.held.in_flight.add(setting.service)  # nobody hands it out meanwhile
        self._waiting.put_nowait(setting)

    async def run(self) -> None:
        """Set aside for ever; cancelled at stop, when what is left simply lapses."""
        async with asyncio.TaskGroup() as sending:
            while True:
                sending.create_task(self._set_aside(await self._waiting.get()))

    async def _set_aside(self, setting: Setting) -> None:
        if await self._send(setting):
            self._on_aside(setting)

    async def _send(self, setting: Setting) -> bool:
        held = setting.held
        name = siding(setting.service) if setting.mark == "sided" else dead_letters(setting.service)
        tries = 0
        while held in self._held:
            try:
                if setting.mark == "dead":
                    await self._registry.bury(setting.service, held.key, setting.reason)
                if not await self._queue.send(name, [held.lease.envelope]):
                    self._log(setting)
                    return True
            except UnavailableError:
                pass  # the queue or the database is away: said once where the parent meets it
            tries += 1
            await self._clock.sleep(self._backoff.wait_seconds(tries, self._rng))
        return False

    def _log(self, setting: Setting) -> None:
        log = telemetry.get_logger(service=setting.service, key=setting.held.key, reason=setting.reason)
        if setting.mark == "sided":
            telemetry.service_sided.labels(setting.service).inc()
            log.info("envelope_sided")
        else:
            telemetry.service_dead.labels(setting.service).inc()
            log.error("envelope_dead")


async def set_unreadable_aside(queue: Queue, registry: Registry, lease: Lease, reason: str) -> None:
    """Keep an entry that is no envelope where a person finds it. On `UnavailableError` the lease lapses and it returns."""
    header = lease.envelope.header or "(empty)"
    await registry.bury("unreadable", header[:200], reason)
    if not await queue.send(UNREADABLE, [SealedEnvelope(header, lease.envelope.payload or b"-")]):
        telemetry.get_logger(queue=lease.queue_name, reason=reason).error("envelope_dead", service="unreadable")
        await delete_copied(queue, lease)
