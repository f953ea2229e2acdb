"""Delivery: from the outbox to customers; which batches are claimed when.

A fresh batch is claimed as it is put and tried from memory: to look for it would cost as much as to put it. So it goes
while a few megabytes suffice and nothing older of its webhook waits; the rest stays in the outbox until its webhook has a slot
for it. What was claimed and not tried is given back at a stop, and lapses where the process was killed.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Collection, Coroutine, Sequence
from typing import Any, Final

from omni_etl import telemetry
from omni_etl.backoff import Backoff
from omni_etl.bell import Bell
from omni_etl.clock import Clock
from omni_etl.envelope import Envelope
from omni_etl.errors import UnavailableError
from omni_etl.outbox import Cut, DueBatch, DueLane, Outbox, Wanted
from omni_etl.services.webhooks.attempt import Attempts
from omni_etl.services.webhooks.closer import Closer
from omni_etl.services.webhooks.lane import WebhookLane
from omni_etl.services.webhooks.lanes import FRESH_BYTES_MAX, DeliveryLimits, Lanes, Slot
from omni_etl.services.webhooks.overflow import Overflow
from omni_etl.services.webhooks.subscriptions import Subscriptions
from omni_etl.webhook import Webhook

POLL_SECONDS: Final = 1.0  # for retries that came due, and batches that other processes cut
GATHER_SECONDS: Final = 0.02  # while more is due: let attempts end, then claim for all of them in one transaction
RECORD_SECONDS: Final = 20  # of a claim, beyond the attempt: to write the answer down although the outbox stumbles
STOP_SECONDS: Final = 3.0  # for attempts in flight at a stop; one that is cut off is repeated later


class Delivery:
    """The loop. `run` ends only when cancelled."""

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
        self._limits = limits
        self._claim_seconds = math.ceil(limits.attempt_seconds_max) + RECORD_SECONDS
        self._clock = clock
        self._rng = rng
        self._backoff = Backoff(first_seconds=0.2, wait_seconds_max=10.0)
        self._news = Bell()
        self.lanes = Lanes(attempt=self._attempt, limits=limits, clock=clock, freed=self._look_soon)
        self._closer = Closer(outbox=outbox, subscriptions=subscriptions, lanes=self.lanes, limits=limits, clock=clock)
        self._overflow = Overflow(outbox=outbox, limits=limits, clock=clock)
        self._look_at = -math.inf
        self._failures = 0
        self._webhooks: Sequence[Webhook] = ()  # as the last look had them
        self._behind: list[WebhookLane] = []
        self._late: list[asyncio.Task[list[DueBatch]]] = []  # claims that were under way at the stop
        self._log = telemetry.get_logger(service="webhooks")

    async def put(self, envelope: Envelope, cut: Cut) -> None:
        """Into the outbox, once, and on their way. Raises as the outbox does."""
        eager, size_bytes = self._eager(cut)
        until = self._clock.monotonic() + self._claim_seconds
        claimed: Sequence[DueBatch] | None = ()
        self.lanes.fresh_bytes += size_bytes
        try:
            claimed = await self._outbox.put(envelope, cut, eager=eager, claim_seconds=self._claim_seconds)
        finally:
            self.lanes.fresh_bytes -= 0 if claimed else size_bytes
        if claimed is None:
            return
        await self._accept(claimed, until)
        if cut.segments:
            self._closer.wake()
        waiting = {each.webhook_id for each in cut.batches} - set(eager)
        if any(self.lanes.room(self.lanes.lane(each)) for each in waiting):
            self.wake()

    def wake(self) -> None:
        """A batch waits in the outbox: look now."""
        self._look_at = -math.inf
        self._news.ring()

    async def run(self) -> None:
        """Deliver until cancelled; then attempts in flight get a moment to end."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._look_for_ever())
                tasks.create_task(self._close_for_ever())
        finally:
            self.lanes.is_running = False
            await self._stop()

    async def _look_for_ever(self) -> None:
        while True:
            seen = self._news.rings
            seconds = self._look_at - self._clock.monotonic()
            if seconds > 0:
                await self._news.wait(seen, clock=self._clock, seconds=seconds)
                continue
            self._look_at = self._clock.monotonic() + POLL_SECONDS  # before the look: a `wake` during it stands
            try:
                await self._look()
            except UnavailableError as error:
                self._failures += 1
                if self._failures == 1:
                    self._log.warning("webhook_delivery_waiting", reason=str(error))
                self._look_at = self._clock.monotonic() + self._backoff.wait_seconds(self._failures, self._rng)
            else:
                self._failures = 0

    async def _look(self) -> None:
        """What is due, into every slot that its webhook may have."""
        now_ms = self._clock.now() * 1000
        webhooks = await self._subscriptions.recent()
        if webhooks is not self._webhooks:
            self._webhooks = webhooks
            self.lanes.know(webhooks)
        paused = {each.id for each in webhooks if not each.active}
        found = await self._outbox.due()
        behind: list[tuple[WebhookLane, DueLane]] = []
        for lane in self._behind:
            lane.is_behind = False  # of those for which nothing waits any more nothing is heard
        for each in found:
            if each.lane.webhook_id in paused:
                continue
            lane = self.lanes.lane(each.lane.webhook_id)
            lane.hear(each.lane)
            lane.is_behind = _is_due(each.fresh_due_at_ms, now_ms) or _is_due(each.retry_due_at_ms, now_ms)
            if lane.is_behind:
                behind.append((lane, each))
        self.lanes.stand_again()
        self._behind = [lane for lane, _ in behind]
        self.lanes.is_running = True  # only now is it known which webhooks are stopped
        await self._claim(behind, now_ms)
        await self._give_back_held(*(self.lanes.lane(each.lane.webhook_id) for each in found))
        for each in found:
            if await self._overflow.limit(each, now_ms):
                self._look_soon()
        self._overflow.say()

    async def _claim(self, behind: Sequence[tuple[WebhookLane, DueLane]], now_ms: float) -> None:
        wanted, reserved = self._reserve(behind, now_ms)
        until = self._clock.monotonic() + self._claim_seconds
        try:
            if wanted:
                for each in await self._claimed(self._outbox.claim(wanted, claim_seconds=self._claim_seconds)):
                    self.lanes.fresh_bytes += len(each.batch.body)  # until it ends: so much less is kept of what comes
                    slot = reserved[each.batch.webhook_id].pop()
                    self.lanes.begin(each, until, slot=slot, size_bytes=len(each.batch.body))
        finally:
            self.lanes.give_back(slot for slots in reserved.values() for slot in slots)

    def _reserve(
        self, behind: Sequence[tuple[WebhookLane, DueLane]], now_ms: float
    ) -> tuple[dict[str, Wanted], dict[str, list[Slot]]]:
        """A share of what is free for each: first for whom a slot was kept, the others as the dice say."""
        kept_for = self.lanes.give_up_kept()
        able = [each for each in behind if each[0].slots(now_ms) > len(each[0].fresh)]
        self._rng.shuffle(able)
        able.sort(key=lambda each: each[0].webhook_id not in kept_for)
        wanted: dict[str, Wanted] = {}
        reserved: dict[str, list[Slot]] = {}
        for place, (lane, due) in enumerate(able):
            share = max(1, self.lanes.free() // (len(able) - place))
            count = min(share, self.lanes.room(lane) - len(lane.fresh))
            if count > 0:
                reserved[lane.webhook_id] = self.lanes.reserve(lane, count)
                wanted[lane.webhook_id] = _wanted(lane, due, count=count, now_ms=now_ms)
            else:
                self.lanes.queue(lane)
        return wanted, reserved

    async def _claimed(self, claiming: Coroutine[Any, Any, list[DueBatch]]) -> list[DueBatch]:
        """What was claimed. Cut off by a stop, it goes on: what it claims is given back."""
        task = asyncio.create_task(claiming)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._late.append(task)
            raise

    async def _attempt(self, due: DueBatch, lane: WebhookLane, until: float) -> None:
        await self._attempts.make(due, lane, begin_by=until - self._limits.attempt_seconds_max, until=until)
        await self._give_back_held(lane)

    async def _close_for_ever(self) -> None:
        while True:
            until = self._clock.monotonic() + self._claim_seconds
            try:
                claimed = await self._claimed(self._closer.close(claim_seconds=self._claim_seconds))
            except UnavailableError:  # said by who looks for batches
                claimed = []
            self.lanes.fresh_bytes += sum(len(each.batch.body) for each in claimed)
            await self._accept(claimed, until)
            if self._closer.has_left_to_look:
                self.wake()
            await self._closer.wait()

    def _eager(self, cut: Cut) -> tuple[Collection[str], int]:
        """Whose batches to keep in memory, and how much that is."""
        bytes_of: dict[str, int] = {}
        for batch in cut.batches:
            bytes_of[batch.webhook_id] = bytes_of.get(batch.webhook_id, 0) + len(batch.body)
        eager: list[str] = []
        size_bytes = 0
        for webhook_id, its_bytes in bytes_of.items():
            fits = self.lanes.fresh_bytes + size_bytes + its_bytes <= FRESH_BYTES_MAX
            if fits and self.lanes.is_eager(self.lanes.lane(webhook_id)):
                eager.append(webhook_id)
                size_bytes += its_bytes
        return eager, size_bytes

    async def _accept(self, claimed: Sequence[DueBatch], until: float) -> None:
        self.lanes.accept(claimed, until)
        if not self.lanes.is_running:  # stopped meanwhile
            await self._give_back(self.lanes.leave())

    def _look_soon(self) -> None:
        self._look_at = min(self._look_at, self._clock.monotonic() + GATHER_SECONDS)
        self._news.ring()

    async def _stop(self) -> None:
        enough: asyncio.Future[Any] = asyncio.ensure_future(self._clock.sleep(STOP_SECONDS))
        left, late = self._give_back(self.lanes.leave()), self._give_back_late()
        ending: asyncio.Future[Any] = asyncio.gather(left, late, *self.lanes.in_flight(), return_exceptions=True)
        await asyncio.wait([enough, ending], return_when=asyncio.FIRST_COMPLETED)
        enough.cancel()
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)

    async def _give_back_held(self, *lanes: WebhookLane) -> None:
        """What lies in memory for webhooks that get no attempts for now: it would wait there until its claims lapse."""
        now_ms = self._clock.now() * 1000
        held = [lane for lane in lanes if lane.fresh and not lane.is_free(now_ms)]
        if held:
            await self._give_back(self.lanes.leave(*held))

    async def _give_back_late(self) -> None:
        while self._late:
            [claimed] = await asyncio.gather(self._late.pop(), return_exceptions=True)
            await self._give_back(claimed if isinstance(claimed, list) else [])

    async def _give_back(self, claimed: Sequence[DueBatch]) -> None:
        """What was claimed and not tried, so that whoever looks next finds it; where that fails, the claims lapse."""
        try:
            await self._outbox.release(claimed)
        except UnavailableError as error:
            self._log.warning("webhook_delivery_waiting", reason=str(error))


def _is_due(at_ms: int | None, now_ms: float) -> bool:
    return at_ms is not None and at_ms <= now_ms


def _wanted(lane: WebhookLane, due: DueLane, *, count: int, now_ms: float) -> Wanted:
    """Half of the slots for each kind where both are due, an odd one for the older, so that neither holds up the other."""
    if lane.is_open:
        return Wanted(is_probe=True)
    fresh_at_ms, retry_at_ms = due.fresh_due_at_ms, due.retry_due_at_ms
    if retry_at_ms is None or retry_at_ms > now_ms:
        return Wanted(fresh=count)
    if fresh_at_ms is None or fresh_at_ms > now_ms:
        return Wanted(retries=count)
    retries = (count + (retry_at_ms <= fresh_at_ms)) // 2
    return Wanted(fresh=count - retries, retries=retries)
