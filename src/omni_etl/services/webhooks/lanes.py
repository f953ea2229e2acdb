"""Lanes: which batches are tried when. Takes what is due from the outbox, with at most so many attempts in flight.

Nothing is claimed that is not tried at once, so a killed process leaves only attempts in flight to lapse.
"""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass
from typing import Any, Final

from omni_etl import telemetry
from omni_etl.backoff import Backoff
from omni_etl.clock import Clock
from omni_etl.errors import UnavailableError
from omni_etl.outbox import DueBatch, Outbox
from omni_etl.services.webhooks.attempt import Attempts
from omni_etl.services.webhooks.subscriptions import Subscriptions

POLL_SECONDS: Final = 1.0  # for retries that came due, and batches that other processes cut
GATHER_SECONDS: Final = 0.02  # while more is due: let attempts end, then claim for all of them in one transaction
RECORD_SECONDS: Final = 20  # of a claim, beyond the attempt: to write the answer down although the outbox stumbles
STOP_SECONDS: Final = 3.0  # for attempts in flight at a stop; one that is cut off is repeated later


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """What delivery may take."""

    in_flight_max: int  # attempts at the same time
    attempt_seconds_max: float  # what the poster allows one attempt, answer included


class Lanes:
    """The delivery loop. `run` ends only when cancelled."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        subscriptions: Subscriptions,
        attempts: Attempts,
        limits: DeliveryLimits,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._outbox = outbox
        self._subscriptions = subscriptions
        self._attempts = attempts
        self._in_flight_max = limits.in_flight_max
        self._attempt_seconds_max = limits.attempt_seconds_max
        self._claim_seconds = math.ceil(limits.attempt_seconds_max) + RECORD_SECONDS
        self._clock = clock
        self._rng = rng
        self._backoff = Backoff(first_seconds=0.2, wait_seconds_max=10.0)
        self._in_flight: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()  # an attempt ended, or a batch was put
        self._look_at = -math.inf  # when to ask the outbox again
        self._failures = 0
        self._log = telemetry.get_logger(service="webhooks")

    def wake(self) -> None:
        """A batch was put: look now."""
        self._look_at = -math.inf
        self._news.set()

    async def run(self) -> None:
        """Deliver until cancelled; then attempts in flight get a moment to end."""
        try:
            while True:
                self._news.clear()
                if self._has_slot() and self._clock.monotonic() >= self._look_at:
                    await self._take()
                await self._wait()
        finally:
            await self._stop()

    async def _take(self) -> None:
        slots = self._in_flight_max - len(self._in_flight)
        self._look_at = self._clock.monotonic() + POLL_SECONDS  # before the claim: a `wake` during it stands
        until = self._clock.monotonic() + self._claim_seconds
        try:
            paused = {each.id for each in await self._subscriptions.recent() if not each.active}
            claimed = await self._outbox.claim(count_max=slots, claim_seconds=self._claim_seconds, paused=paused)
        except UnavailableError as error:
            self._failures += 1
            if self._failures == 1:
                self._log.warning("webhook_delivery_waiting", reason=str(error))
            self._look_at = self._clock.monotonic() + self._backoff.wait_seconds(self._failures, self._rng)
            return
        self._failures = 0
        for due in claimed:
            task = asyncio.create_task(self._attempt(due, until))
            self._in_flight.add(task)
            task.add_done_callback(self._ended)
        if len(claimed) == slots:
            self._look_at = min(self._look_at, self._clock.monotonic() + GATHER_SECONDS)

    async def _attempt(self, due: DueBatch, until: float) -> None:
        try:
            await self._attempts.make(due, begin_by=until - self._attempt_seconds_max, until=until)
        except UnavailableError as error:
            self._log.warning("webhook_delivery_waiting", batch=due.batch.id, reason=str(error))
        except Exception:  # noqa: BLE001 the loop: one batch that meets an error of ours must not hold up the others
            self._log.exception("service_failed", batch=due.batch.id)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._news.set()

    def _has_slot(self) -> bool:
        return len(self._in_flight) < self._in_flight_max

    async def _wait(self) -> None:
        """For news, and with a free slot no longer than until the next look."""
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._news.wait())]
        if self._has_slot():
            seconds = max(0.0, self._look_at - self._clock.monotonic())
            waits.append(asyncio.ensure_future(self._clock.sleep(seconds)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def _stop(self) -> None:
        if not self._in_flight:
            return
        enough: asyncio.Future[Any] = asyncio.ensure_future(self._clock.sleep(STOP_SECONDS))
        ending: asyncio.Future[Any] = asyncio.gather(*self._in_flight, return_exceptions=True)
        await asyncio.wait([enough, ending], return_when=asyncio.FIRST_COMPLETED)
        enough.cancel()
        ending.cancel()
        await asyncio.wait([ending])
