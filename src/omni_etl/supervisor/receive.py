"""Receive: take leases from one queue, open their headers, ask the tracker, and hand them to the parent."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Protocol

from omni_etl import telemetry
from omni_etl.backoff import Backoff
from omni_etl.clock import Clock
from omni_etl.envelope import open_header
from omni_etl.errors import EnvelopeError, UnavailableError
from omni_etl.queue import Lease
from omni_etl.registry import RegisteredService, owed
from omni_etl.supervisor.aside import set_unreadable_aside
from omni_etl.supervisor.engines import NOTHING_KNOWN, Engines
from omni_etl.supervisor.held import Held
from omni_etl.tracker import Progress

WAIT_SECONDS: Final = 20.0  # SQS's longest poll
PAUSE_SECONDS: Final = 0.2
ANSWER_SECONDS_MAX: Final = 5.0  # between the queue giving a lease and its answer arriving here


class Intake(Protocol):
    """What the parent says and takes."""

    def room(self, source: Source) -> int:
        """How many leases more may come from this queue now."""
        ...

    def take(self, held: Held) -> None:
        """A lease is ours."""
        ...

    def registered(self) -> list[RegisteredService]:
        """The services of the fleet, as last heard."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """One queue to receive from; `only` for a siding."""

    queue_name: str
    only: str | None = None


class Receiver:
    """Receives from one source for ever."""

    def __init__(
        self,
        *,
        engines: Engines,
        intake: Intake,
        clock: Clock,
        rng: random.Random,
        lease_seconds: int,
    ) -> None:
        self._engines = engines
        self._intake = intake
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._rng = rng
        self._backoff = Backoff(first_seconds=0.2, wait_seconds_max=10.0)
        self._log = telemetry.get_logger()

    async def run(self, source: Source) -> None:
        """Receive whenever there is room; cancelled at stop."""
        tries = 0
        while True:
            room = self._intake.room(source)
            if room <= 0:
                await self._engines.room_changed(PAUSE_SECONDS)
                continue
            asked_at = self._clock.monotonic()
            try:
                leases = await self._engines.queue.receive(
                    source.queue_name,
                    count_max=min(room, self._engines.queue.limits.receive_count_max),
                    wait_seconds=WAIT_SECONDS,
                    lease_seconds=self._lease_seconds,
                )
            except UnavailableError as error:
                tries += 1
                if tries == 1:
                    self._log.error("queue_away", queue=source.queue_name, reason=str(error))
                await self._clock.sleep(self._backoff.wait_seconds(tries, self._rng))
                continue
            if tries:
                self._log.info("queue_back", queue=source.queue_name)
                tries = 0
            if leases:
                await self._admit(source, leases, asked_at)

    async def _admit(self, source: Source, leases: list[Lease], asked_at: float) -> None:
        """Open headers and ask who is done; the deadline counts from before the receive, which is never too late."""
        now = self._clock.monotonic()
        # A long poll may have waited before the lease began: count from its end, less a margin for the answer's way.
        deadline = max(asked_at, now - ANSWER_SECONDS_MAX) + self._lease_seconds
        opened: list[Held] = []
        for lease in leases:
            try:
                header = open_header(lease.envelope.header)
            except EnvelopeError as error:
                await self._set_unreadable_aside(lease, str(error))
                continue
            services = frozenset({source.only}) if source.only else owed(self._intake.registered(), header.cut_at_ms)
            opened.append(
                Held(lease, header, deadline, now, services, only=source.only, marked_at=now),
            )
        for held, progress in zip(opened, await self._progress(source, opened), strict=True):
            if progress.settled:
                held.owed = frozenset()  # a duplicate of what was deleted within the hour
            held.marks.update({name: mark for name, mark in progress.marks.items() if name in held.owed})
            self._intake.take(held)

    async def _progress(self, source: Source, opened: list[Held]) -> list[Progress]:
        """A siding's envelope is judged by its service's ledger alone, never by the tracker."""
        if source.only is not None or not opened:
            return [NOTHING_KNOWN] * len(opened)
        return await self._engines.ask([held.key for held in opened])

    async def _set_unreadable_aside(self, lease: Lease, reason: str) -> None:
        try:
            await set_unreadable_aside(self._engines.queue, self._engines.registry, lease, reason)
        except UnavailableError:
            return  # it lapses and comes again
