"""Lanes: which batches are tried when, with at most so many attempts in flight.

A fresh batch is claimed as it is put and tried from memory: to look for it would cost as much as to put it. So it goes
while a few megabytes suffice and nothing older waits; the rest stays in the outbox until a slot is free for it. What was
claimed and not tried is given back at a stop, and lapses where the process was killed.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from omni_etl import telemetry
from omni_etl.backoff import Backoff
from omni_etl.clock import Clock
from omni_etl.envelope import Envelope
from omni_etl.errors import UnavailableError
from omni_etl.outbox import Batch, DueBatch, Outbox
from omni_etl.services.webhooks.attempt import Attempts
from omni_etl.services.webhooks.subscriptions import Subscriptions

POLL_SECONDS: Final = 1.0  # for retries that came due, and batches that other processes cut
GATHER_SECONDS: Final = 0.02  # while more is due: let attempts end, then claim for all of them in one transaction
FRESH_BYTES_MAX: Final = 32 * 1024 * 1024  # bodies tried from memory, those in flight included: a dozen envelopes
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
        self._is_running = False
        self._fresh: deque[tuple[DueBatch, float]] = deque()  # claimed and not yet tried, with the end of the claim
        self._fresh_bytes = 0  # of these, of those being put, and of those in flight
        self._is_behind = (
            False  # the outbox gave all that was asked for: there is more, and it is older than what comes
        )
        self._in_flight: set[asyncio.Task[None]] = set()
        self._asked_for = 0  # slots for which a claim is under way
        self._slot = asyncio.Event()  # there is one
        self._slot.set()
        self._news = asyncio.Event()  # a batch was put
        self._look_at = -math.inf  # when to ask the outbox again
        self._failures = 0
        self._log = telemetry.get_logger(service="webhooks")

    async def put(self, envelope: Envelope, batches: Sequence[Batch]) -> None:
        """Into the outbox, once, and on their way. Raises as the outbox does."""
        size_bytes = sum(len(each.body) for each in batches)
        if not batches or not self._may_keep(size_bytes):
            if await self._outbox.put(envelope, batches) and batches:
                self.wake()
            return
        until = self._clock.monotonic() + self._claim_seconds
        self._fresh_bytes += size_bytes
        claimed: Sequence[DueBatch] = ()
        try:
            claimed = await self._outbox.put_claimed(envelope, batches, claim_seconds=self._claim_seconds)
        finally:
            self._fresh_bytes -= 0 if claimed else size_bytes
        self._fresh.extend((each, until) for each in claimed)
        if self._is_running:
            self._begin_fresh()
        else:  # stopped meanwhile
            await self._give_back()

    def wake(self) -> None:
        """A batch waits in the outbox: look now."""
        self._look_at = -math.inf
        self._news.set()

    async def run(self) -> None:
        """Deliver until cancelled; then attempts in flight get a moment to end."""
        self._is_running = True
        try:
            while True:
                await self._until_look()
                await self._slot.wait()
                await self._take()
                self._begin_fresh()
        finally:
            self._is_running = False
            await self._stop()

    async def _take(self) -> None:
        """What is due, into every slot that is free."""
        slots = self._asked_for = self._in_flight_max - len(self._in_flight)
        self._look_at = self._clock.monotonic() + POLL_SECONDS  # before the claim: a `wake` during it stands
        until = self._clock.monotonic() + self._claim_seconds
        try:
            claimed = await self._claim(slots)
        except UnavailableError as error:
            self._failures += 1
            if self._failures == 1:
                self._log.warning("webhook_delivery_waiting", reason=str(error))
            self._look_at = self._clock.monotonic() + self._backoff.wait_seconds(self._failures, self._rng)
            return
        finally:
            self._asked_for = 0
        self._failures = 0
        for due in claimed:
            self._begin(due, until)
        self._is_behind = len(claimed) == slots
        if self._is_behind:
            self._look_at = min(self._look_at, self._clock.monotonic() + GATHER_SECONDS)

    async def _claim(self, slots: int) -> Sequence[DueBatch]:
        paused = {each.id for each in await self._subscriptions.recent() if not each.active}
        return await self._outbox.claim(count_max=slots, claim_seconds=self._claim_seconds, paused=paused)

    def _may_keep(self, size_bytes: int) -> bool:
        return self._is_running and not self._is_behind and self._fresh_bytes + size_bytes <= FRESH_BYTES_MAX

    def _begin_fresh(self) -> None:
        """Into free slots, but for a look that is due: what lies in the outbox is never kept waiting by what is fresh."""
        while self._fresh and self._is_running and self._has_slot() and self._clock.monotonic() < self._look_at:
            due, until = self._fresh.popleft()
            self._begin(due, until, fresh_bytes=len(due.batch.body))

    def _begin(self, due: DueBatch, until: float, *, fresh_bytes: int = 0) -> None:
        task = asyncio.create_task(self._attempt(due, until))
        self._in_flight.add(task)
        task.add_done_callback(partial(self._ended, fresh_bytes=fresh_bytes))
        if not self._has_slot():
            self._slot.clear()

    def _ended(self, task: asyncio.Task[None], *, fresh_bytes: int) -> None:
        self._in_flight.discard(task)
        self._fresh_bytes -= fresh_bytes
        self._slot.set()
        self._begin_fresh()

    def _has_slot(self) -> bool:
        return len(self._in_flight) + self._asked_for < self._in_flight_max

    async def _attempt(self, due: DueBatch, until: float) -> None:
        try:
            await self._attempts.make(due, begin_by=until - self._attempt_seconds_max, until=until)
        except UnavailableError as error:
            self._log.warning("webhook_delivery_waiting", batch=due.batch.id, reason=str(error))
        except Exception:  # noqa: BLE001 the loop: one batch that meets an error of ours must not hold up the others
            self._log.exception("service_failed", batch=due.batch.id)

    async def _until_look(self) -> None:
        """Until it is time, or until there is news."""
        while (seconds := self._look_at - self._clock.monotonic()) > 0:
            self._news.clear()
            waits: list[asyncio.Future[Any]] = [
                asyncio.ensure_future(self._news.wait()),
                asyncio.ensure_future(self._clock.sleep(seconds)),
            ]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waits:
                    each.cancel()

    async def _stop(self) -> None:
        enough: asyncio.Future[Any] = asyncio.ensure_future(self._clock.sleep(STOP_SECONDS))
        ending: asyncio.Future[Any] = asyncio.gather(self._give_back(), *self._in_flight, return_exceptions=True)
        await asyncio.wait([enough, ending], return_when=asyncio.FIRST_COMPLETED)
        enough.cancel()
        ending.cancel()
        await asyncio.wait([ending])

    async def _give_back(self) -> None:
        """What was claimed and not tried, so that whoever looks next finds it; where that fails, the claims lapse."""
        fresh = [due for due, _ in self._fresh]
        self._fresh.clear()
        self._fresh_bytes -= sum(len(due.batch.body) for due in fresh)
        try:
            await self._outbox.release(fresh)
        except UnavailableError as error:
            self._log.warning("webhook_delivery_waiting", reason=str(error))
