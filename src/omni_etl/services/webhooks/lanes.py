"""Lanes: who may begin an attempt; a fair share of slots for each webhook, whatever the others do.

No webhook has more in flight than it bears (`lane`), no subaccount more than its share, and all those together that have not
shown to be well, because they are new, failed or were late, at most half of all slots. So customers that hang cost the others
nothing, and whoever comes back has slots waiting. Who waits in the outbox has turns as who waits in memory.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from omni_etl import telemetry
from omni_etl.clock import Clock
from omni_etl.errors import UnavailableError
from omni_etl.outbox import DueBatch
from omni_etl.services.webhooks.lane import WebhookLane
from omni_etl.webhook import Webhook

# Of bodies in memory, those in flight included, beyond which nothing is kept as it is put.
FRESH_BYTES_MAX: Final = 32 * 1024 * 1024
ACCOUNT_SHARE: Final = 0.5  # of all slots, for all webhooks of one subaccount
Attempt = Callable[[DueBatch, WebhookLane, float], Awaitable[None]]  # with the end of the claim


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """What delivery may take."""

    in_flight_max: int  # attempts at the same time
    in_flight_webhook_max: int  # for one webhook
    attempt_seconds_max: float  # what the poster allows one attempt, answer included
    close_seconds: float = 1.0  # for which an event waits for others, to share their batch
    backlog_bytes_max: int = 20 * 2**30  # of one webhook, compressed
    backlog_seconds_max: float = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Slot:
    """Room for one attempt. What its webhook was when it was taken may be otherwise when it is given back."""

    lane: WebhookLane
    was_proven: bool
    account: int | None


class Lanes:
    """Slots and attempts in flight, and the fresh batches that are tried from memory."""

    def __init__(self, *, attempt: Attempt, limits: DeliveryLimits, clock: Clock, freed: Callable[[], None]) -> None:
        self._attempt = attempt
        self._limits = limits
        self._clock = clock
        self._freed = freed  # told when a webhook with more in the outbox has or may have a slot again
        self._lanes: dict[str, WebhookLane] = {}
        self._taken = 0
        self._taken_unproven = 0
        self._taken_by: Counter[int | None] = Counter()
        # Who has something to send, in two rows: who is well, and who has not shown it, which is passed over while its share is taken.
        self._well: deque[WebhookLane] = deque()
        self._others: deque[WebhookLane] = deque()
        self._turns = 0
        self._kept: list[Slot] = []  # for who waits in the outbox, until the next look
        self._in_flight: set[asyncio.Task[None]] = set()
        self.is_running = False  # the outbox was looked into, and nobody said stop
        self.fresh_bytes = 0  # of those in memory, of those being put, and of those in flight
        self._log = telemetry.get_logger(service="webhooks")

    def lane(self, webhook_id: str) -> WebhookLane:
        """Of one webhook; a new one knows nothing."""
        if webhook_id not in self._lanes:
            limits = self._limits
            self._lanes[webhook_id] = WebhookLane(webhook_id, limits.in_flight_webhook_max, limits.attempt_seconds_max)
        return self._lanes[webhook_id]

    def know(self, webhooks: Iterable[Webhook]) -> None:
        """Whose share each takes."""
        for webhook in webhooks:
            self.lane(webhook.id).account = webhook.subaccount_id if webhook.subaccount_id > 0 else None

    def room(self, lane: WebhookLane) -> int:
        """How many attempts of this webhook may begin now."""
        free = min(self.free(), self._account_left(lane))
        if not lane.is_proven:
            free = min(free, self._others_left())
        return max(0, min(free, lane.slots(self._clock.now() * 1000)))

    def _others_left(self) -> int:
        return max(1, self._limits.in_flight_max // 2) - self._taken_unproven

    def _account_left(self, lane: WebhookLane) -> int:
        if lane.account is None:
            return self._limits.in_flight_max
        return max(1, int(self._limits.in_flight_max * ACCOUNT_SHARE)) - self._taken_by[lane.account]

    def free(self) -> int:
        """Slots that nobody has."""
        return self._limits.in_flight_max - self._taken

    def is_eager(self, lane: WebhookLane) -> bool:
        """Whether fresh batches of this webhook are to be claimed as they are put."""
        return self.is_running and lane.is_eager(self._clock.now() * 1000)

    def reserve(self, lane: WebhookLane, count: int) -> list[Slot]:
        """Take slots for a claim; each goes to `begin` or to `give_back`."""
        return [self._take(lane) for _ in range(count)]

    def give_back(self, slots: Iterable[Slot]) -> None:
        """Slots for which nothing was due."""
        for slot in slots:
            self._give(slot)
        self.begin_fresh()

    def queue(self, lane: WebhookLane) -> None:
        """There was no slot that it might have: the next one in its turn is kept for it, and `freed` is told."""
        lane.is_hungry = True
        self._stand(lane)

    def stand_again(self) -> None:
        """Who has something in memory, each in its row: a hold ends without a word, and a look may tell who is well."""
        for lane in self._lanes.values():
            if lane.fresh or lane.row is not None:
                self._stand(lane)

    def give_up_kept(self) -> set[str]:
        """Slots that were kept are free: whose turn it is, to reserve anew, before anybody else."""
        kept, self._kept = self._kept, []
        for slot in kept:
            self._give(slot)
        return {slot.lane.webhook_id for slot in kept}

    def accept(self, claimed: Iterable[DueBatch], until: float) -> None:
        """Fresh batches, to be tried from memory as there is room."""
        for due in claimed:
            lane = self.lane(due.batch.webhook_id)
            lane.fresh.append((due, until))
            self._stand(lane)
        self.begin_fresh()

    def begin_fresh(self) -> None:
        """One for each webhook in turn, of both rows by turns, until nobody has anything or has room.

        With a thousand webhooks waiting for the share of those who have not shown to be well, nobody looks through them all
        each time that an attempt ends.
        """
        now_ms, blocked = self._clock.now() * 1000, {False: 0, True: 0}
        while self.is_running and self.free() > 0:
            rows = [is_well for is_well in (True, False) if self._is_worth_a_look(blocked[is_well], is_well=is_well)]
            if not rows:
                return
            is_well = rows[self._turns % len(rows)]
            self._turns += 1
            row = self._well if is_well else self._others
            lane = row.popleft()
            lane.row = None
            if lane.is_proven is not is_well:  # since it stood there
                self._stand(lane)
                continue
            if not (lane.fresh or lane.is_hungry) or not lane.slots(now_ms):
                continue  # until something comes, or one of its own slots is free
            self._stand(lane)
            if self._account_left(lane) <= 0:
                blocked[is_well] += 1
            else:
                self._serve(lane)
                blocked[is_well] = 0

    def _is_worth_a_look(self, blocked: int, *, is_well: bool) -> bool:
        """Whether somebody stands there who was not looked at, and there is room for such."""
        return blocked < len(self._well) if is_well else blocked < len(self._others) and self._others_left() > 0

    def begin(self, due: DueBatch, until: float, *, slot: Slot, size_bytes: int) -> None:
        """An attempt whose slot is taken; of `fresh_bytes` it has so many, and gives them back."""
        task = asyncio.create_task(self._run(due, slot.lane, until))
        self._in_flight.add(task)
        task.add_done_callback(partial(self._ended, slot=slot, size_bytes=size_bytes))

    def in_flight(self) -> list[asyncio.Task[None]]:
        """Attempts that have not ended."""
        return list(self._in_flight)

    def leave(self, *lanes: WebhookLane) -> list[DueBatch]:
        """What was claimed and not tried, of these webhooks or of all."""
        left: list[DueBatch] = []
        for lane in lanes or self._lanes.values():
            left += [due for due, _ in lane.fresh]
            lane.fresh.clear()
        self.fresh_bytes -= sum(len(due.batch.body) for due in left)
        return left

    async def _run(self, due: DueBatch, lane: WebhookLane, until: float) -> None:
        try:
            await self._attempt(due, lane, until)
        except UnavailableError as error:
            self._log.warning("webhook_delivery_waiting", batch=due.batch.id, reason=str(error))
        except Exception:  # noqa: BLE001 the loop: one batch that meets an error of ours must not hold up the others
            self._log.exception("service_failed", batch=due.batch.id)

    def _ended(self, task: asyncio.Task[None], *, slot: Slot, size_bytes: int) -> None:
        self._in_flight.discard(task)
        self.fresh_bytes -= size_bytes
        self._give(slot)
        self.begin_fresh()
        if slot.lane.is_behind:
            self._freed()

    def _serve(self, lane: WebhookLane) -> None:
        slot = self._take(lane)
        if lane.fresh:
            due, until = lane.fresh.popleft()
            self.begin(due, until, slot=slot, size_bytes=len(due.batch.body))
            return
        lane.is_hungry = False
        self._kept.append(slot)
        self._freed()

    def _stand(self, lane: WebhookLane) -> None:
        row = self._well if lane.is_proven else self._others
        if lane.row is not row:
            if lane.row is not None:
                lane.row.remove(lane)
            lane.row = row
            row.append(lane)

    def _take(self, lane: WebhookLane) -> Slot:
        slot = Slot(lane, lane.is_proven, lane.account)
        self._taken += 1
        self._taken_unproven += not slot.was_proven
        self._taken_by[slot.account] += 1
        lane.in_flight += 1
        return slot

    def _give(self, slot: Slot) -> None:
        self._taken -= 1
        self._taken_unproven -= not slot.was_proven
        self._taken_by[slot.account] -= 1
        slot.lane.in_flight -= 1
        if slot.lane.fresh or slot.lane.is_hungry:  # in its row of now: what was answered may have changed it
            self._stand(slot.lane)
