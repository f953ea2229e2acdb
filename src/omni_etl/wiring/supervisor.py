"""The parent on its engines, and what must stand before it receives."""

from __future__ import annotations

import random
import secrets
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from omni_etl import telemetry
from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.backends.redis import RedisTracker
from omni_etl.backoff import Backoff
from omni_etl.clock import Clock, SystemClock
from omni_etl.errors import SettingsError, UnavailableError
from omni_etl.queue import queue_names
from omni_etl.settings import Settings, environment
from omni_etl.supervisor.audit_check import AuditCheck, CheckLimits
from omni_etl.supervisor.children import Children
from omni_etl.supervisor.engines import Engines
from omni_etl.supervisor.forgetting import Forgetting
from omni_etl.supervisor.limits import SupervisorLimits
from omni_etl.supervisor.loop import Supervisor
from omni_etl.tracker import Tracker
from omni_etl.wiring.audit import SystemAudits
from omni_etl.wiring.databases import build_agreements
from omni_etl.wiring.queues import build_queue
from omni_etl.wiring.services import check_services
from omni_etl.wiring.stores import build_store

Answer = TypeVar("Answer")
TRACKER_SCHEMES: Final = frozenset({"redis", "rediss", "unix"})
START_BACKOFF: Final = Backoff(first_seconds=0.2, wait_seconds_max=5.0)


@dataclass(frozen=True, slots=True)
class Parent:
    """A supervisor with its engines, not yet opened."""

    supervisor: Supervisor
    children: Children
    forgetting: Forgetting
    audit: AuditCheck
    engines: Engines
    store: ClickHouseStore
    services: list[str]
    clock: Clock
    rng: random.Random

    async def open(self) -> str:
        """Reach the queue and the registry, however long it takes; tracker and store may be away. Answers the epoch.

        Raises:
            SettingsError: what waiting cannot heal.

        """
        registry = self.engines.registry
        await self._until_there("database", registry.open)
        await self._until_there("database", self.forgetting.erasures.open)
        await self._until_there("database", lambda: registry.register(self.services))
        asked_at = self.clock.now()
        self.supervisor.hear(await self._until_there("database", registry.services), asked_at=asked_at)
        await self._until_there("queue", lambda: self.engines.queue.open(queue_names(self.services)))
        epoch = await self._epoch()
        await self._try_tracker(epoch)
        await self._until_there(
            "database", self.forgetting.hear
        )  # last: between this and the first work nothing may come
        return epoch

    async def keep_tracker(self, epoch: str) -> None:
        """Return when the tracker was reached, whenever it comes: until then the parent goes by the ledgers alone.

        Raises:
            SettingsError: it evicts keys, or refuses our credentials.

        """
        tries = 0
        while not await self._try_tracker(epoch):
            tries += 1
            await self.clock.sleep(START_BACKOFF.wait_seconds(tries, self.rng))

    async def close(self) -> None:
        """Give back connections."""
        await self.engines.queue.close()
        await self.engines.tracker.close()
        await self.engines.registry.close()
        await self.forgetting.erasures.close()
        await self.store.close()

    async def _epoch(self) -> str:
        """The word that makes tracker marks believable: database and store agree on it, else a new one is made.

        An engine that was made anew or wiped has lost the effects that marks still claim; then every ledger is asked
        again. One restored from a backup brings the word back: whoever restores flushes the tracker (RUNBOOK).
        """
        fresh = secrets.token_hex(8)
        try:
            await self.store.open()
            known, stored = await self.engines.registry.epoch(), await self.store.epoch()
            if known is not None and known == stored:
                return known
            await self.engines.registry.set_epoch(fresh)
            await self.store.set_epoch(fresh)
        except UnavailableError:
            return fresh  # not written down: it is only this parent's, and costs repeated questions
        return fresh

    async def _try_tracker(self, epoch: str) -> bool:
        try:
            await self.engines.tracker.open(epoch)
        except UnavailableError as error:
            self.engines.tracker_away(error)
            return False
        self.engines.tracker_answered()
        return True

    async def _until_there(self, what: str, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        tries = 0
        while True:
            try:
                return await ask()
            except UnavailableError as error:
                tries += 1
                if tries == 1:
                    telemetry.get_logger().warning("run_waiting", engine=what, reason=str(error))
                await self.clock.sleep(START_BACKOFF.wait_seconds(tries, self.rng))


CHILDS_HEAP: Final = {
    "ARROW_DEFAULT_MEMORY_POOL": "system"
}  # the heap that `keep_heap` keeps; Arrow's own gives pages back


def build_parent(settings: Settings) -> Parent:
    """Everything of `omni run`."""
    clock = SystemClock()
    rng = random.SystemRandom()
    services = check_services(settings)
    registry, erasures = build_agreements(settings, clock)
    engines = Engines(
        queue=build_queue(settings, clock),
        tracker=build_tracker(settings),
        registry=registry,
        clock=clock,
        rng=rng,
    )
    supervisor = Supervisor(engines=engines, services=services, limits=_limits(settings), clock=clock, rng=rng)
    children = Children(
        command=lambda service, fd: [sys.executable, "-m", "omni_etl.cli.child", service, str(fd)],
        environment={**environment(settings), **CHILDS_HEAP},
        events=supervisor,
        clock=clock,
        rng=rng,
    )
    forgetting = Forgetting(erasures=erasures, children=children, desks=supervisor.desks.values())
    return Parent(
        supervisor=supervisor,
        children=children,
        forgetting=forgetting,
        audit=AuditCheck(
            SystemAudits(settings),
            registry=registry,
            limits=CheckLimits(settings.audit_seconds, settings.audit_window_hours),
            clock=clock,
            rng=rng,
        ),
        engines=engines,
        store=build_store(settings),
        services=services,
        clock=clock,
        rng=rng,
    )


def build_tracker(settings: Settings) -> Tracker:
    """The tracker that settings name.

    Raises:
        SettingsError: none is named, or an unknown scheme.

    """
    url = settings.tracker_url.get_secret_value()
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in TRACKER_SCHEMES:
        found = f"the scheme {scheme!r}" if separator else "no URL" if url else "nothing"
        raise SettingsError(
            "OMNI_TRACKER_URL", found, "Name a Redis or Valkey (redis://host:6379), or start `omni up`."
        )
    return RedisTracker(url)


def _limits(settings: Settings) -> SupervisorLimits:
    return SupervisorLimits(**{name: getattr(settings, name) for name in SupervisorLimits.__dataclass_fields__})
