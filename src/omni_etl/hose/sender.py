"""Sender: carries cut envelopes from the spool to the queue, as often as it takes.

It remembers places, not envelopes, so its memory hardly grows with a backlog. Express goes first and always finds a
free slot. While the queue is away one call at a time asks whether it is back.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from omni_etl.backoff import Backoff
from omni_etl.clock import Clock
from omni_etl.envelope import LANES, Lane, SealedEnvelope
from omni_etl.errors import UnavailableError
from omni_etl.hose.alarm import Alarm
from omni_etl.queue import Queue, entry_bytes
from omni_etl.telemetry import get_logger, hose_envelopes_sent


class Shelf(Protocol):
    """Where the envelopes lie."""

    def read(self, place: int) -> SealedEnvelope | None:
        """An envelope, or None where the disk lost it."""
        ...

    def confirm(self, places: Sequence[int]) -> None:
        """The queue keeps these, or they are lost: nobody asks for them again."""
        ...


@dataclass(frozen=True, slots=True)
class _Again:
    """An envelope the queue refused by itself."""

    place: int
    lane: Lane
    tries: int
    at: float


@dataclass(frozen=True, slots=True)
class _Batch:
    """One send call."""

    lane: Lane
    places: list[int]
    envelopes: list[SealedEnvelope]
    tries: int = 0  # failures so far of the one envelope in it


class Sender:
    """Up to `in_flight_max` send calls at the same time."""

    def __init__(
        self, queue: Queue, *, shelf: Shelf, clock: Clock, rng: random.Random, in_flight_max: int, queue_is_open: bool
    ) -> None:
        self._queue = queue
        self._shelf = shelf
        self._clock = clock
        self._rng = rng
        self._in_flight_max = in_flight_max
        self._backoff = Backoff(wait_seconds_max=15.0)
        self._pending: dict[Lane, deque[int]] = {"express": deque(), "bulk": deque()}
        self._again: list[_Again] = []
        self._sends: dict[asyncio.Task[None], Lane] = {}
        self._is_open = queue_is_open
        self._away_tries = 0
        self._away_until = 0.0
        self._broken: BaseException | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._alarm = Alarm(clock)
        self.on_confirmed: Callable[[], None] = lambda: None

    def add(self, lane: Lane, places: Iterable[int]) -> None:
        """Durable envelopes to be sent, in this order."""
        self._pending[lane].extend(places)
        if self._pending[lane]:
            self._idle.clear()
            self._alarm.ring()

    async def run(self) -> None:
        """Send until cancelled; calls under way are cancelled too, and their envelopes stay in the spool."""
        try:
            while self._broken is None:
                if (batch := self._next()) is not None:
                    task = asyncio.create_task(self._send(batch))
                    self._sends[task] = batch.lane
                    task.add_done_callback(self._landed)
                else:
                    await self._alarm.wait(until=self._wakes_at())
            raise self._broken
        finally:
            for task in self._sends:
                task.cancel()
            await asyncio.gather(*self._sends, return_exceptions=True)

    async def drained(self) -> None:
        """Wait until nothing is left to send."""
        await self._idle.wait()

    def _landed(self, task: asyncio.Task[None]) -> None:
        del self._sends[task]
        if not task.cancelled():
            self._broken = self._broken or task.exception()
        if not (self._sends or self._again or any(self._pending.values())):
            self._idle.set()
        self._alarm.ring()

    def _next(self) -> _Batch | None:
        now = self._clock.monotonic()
        if now < self._away_until or not self._has_slot():
            return None
        due = min(self._again, key=lambda each: each.at, default=None)
        if due is not None and due.at <= now:
            self._again.remove(due)
            return self._batch(due.lane, deque([due.place]), tries=due.tries)
        for lane in LANES:
            if self._pending[lane] and self._may_send(lane) and (batch := self._batch(lane, self._pending[lane])):
                return batch
        return None

    def _has_slot(self) -> bool:
        return len(self._sends) < (1 if self._away_tries else self._in_flight_max)

    def _may_send(self, lane: Lane) -> bool:
        """Bulk leaves a slot free, so that an express envelope never waits for eight big ones."""
        bulk_max = max(1, self._in_flight_max - 1)
        return lane == "express" or list(self._sends.values()).count("bulk") < bulk_max

    def _batch(self, lane: Lane, pending: deque[int], *, tries: int = 0) -> _Batch | None:
        """Take from the front as much as one call may hold."""
        batch = _Batch(lane, [], [], tries)
        size = 0
        while pending and len(batch.places) < self._queue.limits.batch_count_max:
            envelope = self._shelf.read(pending[0])
            if envelope is None:
                self._shelf.confirm([pending.popleft()])
                continue
            size += entry_bytes(envelope)
            if batch.places and size > self._queue.limits.batch_bytes_max:
                break
            batch.places.append(pending.popleft())
            batch.envelopes.append(envelope)
        return batch if batch.places else None

    async def _send(self, batch: _Batch) -> None:
        try:
            if not self._is_open:
                await self._queue.open(LANES)
                self._is_open = True
            failures = await self._queue.send(batch.lane, batch.envelopes)
        except UnavailableError as error:
            self._queue_is_away(str(error))
            self._pending[batch.lane].extendleft(reversed(batch.places))
            return
        self._queue_is_back()
        for position, reason in failures.items():
            self._refused(batch, position, reason)
        confirmed = [place for position, place in enumerate(batch.places) if position not in failures]
        self._shelf.confirm(confirmed)
        hose_envelopes_sent.inc(len(confirmed))
        self.on_confirmed()

    def _refused(self, batch: _Batch, position: int, reason: str) -> None:
        """It goes again alone, later and later, and holds up nobody else."""
        get_logger().warning("hose_entry_refused", lane=batch.lane, place=batch.places[position], reason=reason)
        tries = batch.tries + 1
        at = self._clock.monotonic() + self._backoff.wait_seconds(tries, self._rng)
        self._again.append(_Again(batch.places[position], batch.lane, tries, at))

    def _queue_is_away(self, reason: str) -> None:
        if not self._away_tries:
            get_logger().warning("hose_queue_away", reason=reason)
        elif self._clock.monotonic() < self._away_until:
            return  # calls that were under way together are one failure
        self._away_tries += 1
        self._away_until = self._clock.monotonic() + self._backoff.wait_seconds(self._away_tries, self._rng)

    def _queue_is_back(self) -> None:
        if self._away_tries:
            get_logger().info("hose_queue_back", tries=self._away_tries)
        self._away_tries = 0
        self._away_until = 0.0

    def _wakes_at(self) -> float | None:
        if not self._has_slot():
            return None  # who lands rings; a moment that has passed would turn the loop until then
        moments = [each.at for each in self._again]
        if any(self._pending.values()) and self._away_tries:
            moments.append(0.0)
        if not moments:
            return None
        return max(min(moments), self._away_until)
