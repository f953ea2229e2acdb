"""Receive: take leases from one queue, open their headers, ask the tracker, and hand them to the parent."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Protocol

from omni_etl import telemetry
from omni_etl.backoff import Backoff
from omni_etl.clock import Clock
from omni_etl.envelope import Header
from omni_etl.errors import UnavailableError
from omni_etl.queue import Lease
from omni_etl.registry import RegisteredService, owed
from omni_etl.supervisor.engines import NOTHING_KNOWN, Engines
from omni_etl.supervisor.held import Held
from omni_etl.supervisor.opening import Opening
from omni_etl.tracker import Progress

WAIT_SECONDS: Final = 20.0  # SQS's longest poll
PAUSE_SECONDS: Final = 0.2
UNHEARD_SECONDS: Final = 2  # until an envelope too young for what we heard of the registry is looked at again
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

    def known_until_ms(self) -> int:
        """Of which envelopes we know what they owe: those cut until then."""
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
        opening: Opening,
        intake: Intake,
        clock: Clock,
        rng: random.Random,
        lease_seconds: int,
    ) -> None:
        self._engines = engines
        self._opening = opening
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
            if leases and not await self._admit(source, leases, asked_at):
                await self._clock.sleep(UNHEARD_SECONDS)

    async def _admit(self, source: Source, leases: list[Lease], asked_at: float) -> bool:
        """Open headers and ask who is done; False where some were too young for what we know of the registry.

        The deadline counts from before the receive, which is never too late.
        """
        now = self._clock.monotonic()
        # A long poll may have waited before the lease began: count from its end, less a margin for the answer's way.
        deadline = max(asked_at, now - ANSWER_SECONDS_MAX) + self._lease_seconds
        readable = await self._opening.open(leases)
        unknown = [lease for lease, header in readable if source.only is None and not self._knows(header)]
        opened: list[Held] = []
        for lease, header in readable:
            if lease in unknown:
                continue
            services = frozenset({source.only}) if source.only else owed(self._intake.registered(), header.cut_at_ms)
            opened.append(Held(lease, header, deadline, now, services, only=source.only, marked_at=now))
        for held, progress in zip(opened, await self._progress(source, opened), strict=True):
            if progress.settled:
                held.owed = frozenset()  # a duplicate of what was deleted within the hour
            held.marks.update({name: mark for name, mark in progress.marks.items() if name in held.owed})
            self._intake.take(held)
        await self._engines.give_back(unknown, delay_seconds=UNHEARD_SECONDS)
        return not unknown

    def _knows(self, header: Header) -> bool:
        """Whether a service that this envelope owes cannot have been registered unheard.

        A cut that lies ahead of us is our now: a hose whose clock is fast shall not wait for ours.
        """
        return min(header.cut_at_ms, int(self._clock.now() * 1000)) <= self._intake.known_until_ms()

    async def _progress(self, source: Source, opened: list[Held]) -> list[Progress]:
        """A siding's envelope is judged by its service's ledger alone, never by the tracker."""
        if source.only is not None or not opened:
            return [NOTHING_KNOWN] * len(opened)
        return await self._engines.ask([held.tracked_as for held in opened])
