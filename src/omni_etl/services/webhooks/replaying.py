"""Replaying: works off jobs that send a webhook's events once more, at their pace, beside what is fresh.

Which events: those that the webhook wants now, of what the store still has. New bytes, so new batch ids, which come from the
job's: repeated after a crash they are the same.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID, uuid5

import msgspec

from omni_etl import telemetry
from omni_etl.backoff import Backoff
from omni_etl.clock import Clock
from omni_etl.errors import UnavailableError
from omni_etl.event import GROUP_OF
from omni_etl.event_search import LINES_MAX, EventQuery, EventSearch, Place
from omni_etl.outbox import Batch
from omni_etl.replay import ClaimedReplay, Replay, Replays, Stride
from omni_etl.services.webhooks.match import BODY_BYTES_MAX
from omni_etl.services.webhooks.subscriptions import Subscriptions
from omni_etl.webhook import SUBACCOUNTS_ALL, Webhook

POLL_SECONDS: Final = 2.0  # for new jobs
LOOK_SECONDS: Final = 0.02
CLAIM_SECONDS: Final = 60  # a page may take the store a while
REPLAY_NAMESPACE: Final = UUID("5b9f0a3e-1e0f-4d55-9a56-0f3f64a3f3c8")  # random, fixed for ever
PRIMARY_ACCOUNT: Final = 0


class _Event(msgspec.Struct, gc=False):
    type: str
    subaccount_id: str | None = None


class Replaying:
    """A page of the job that waited longest, then of the next one: none waits for another's end. `run` ends only when cancelled."""

    def __init__(
        self, *, replays: Replays, search: EventSearch, subscriptions: Subscriptions, clock: Clock, rng: random.Random
    ) -> None:
        self._replays = replays
        self._search = search
        self._subscriptions = subscriptions
        self._clock = clock
        self._rng = rng
        self._backoff = Backoff(first_seconds=1.0, wait_seconds_max=60.0)
        self._failures = 0
        self._pauses: list[float] = []  # when each ends, of jobs that made their last step here; a heap
        self._log = telemetry.get_logger(service="webhooks")

    async def run(self) -> None:
        """Work off what there is, and look again."""
        while True:
            claimed = None
            try:
                claimed = await self._replays.claim(claim_seconds=CLAIM_SECONDS)
                if claimed is not None:
                    await self._step(claimed)
                    self._failures = 0
            except UnavailableError as error:
                await self._wait(claimed, error)
            except Exception:  # noqa: BLE001 the loop: a job that meets an error of ours must hold up neither others nor delivery
                self._log.exception("service_failed", replay=None if claimed is None else claimed.replay.id)
            if claimed is None:
                await self._look_later()

    async def _look_later(self) -> None:
        """When a pause ends that was begun here, or for what others left."""
        now = self._clock.monotonic()
        while self._pauses and self._pauses[0] <= now:
            heapq.heappop(self._pauses)
        next_at = self._pauses[0] if self._pauses else math.inf
        await self._clock.sleep(min(POLL_SECONDS, max(next_at - now, LOOK_SECONDS)))

    async def _step(self, claimed: ClaimedReplay) -> None:
        """One page; its pace is the pause behind it."""
        replay = claimed.replay
        if replay.estimate is None:
            webhook = await self._subscriptions.find(replay.webhook_id)
            estimate = 0 if webhook is None else await self._search.count(query_of(replay, webhook))
            await self._replays.note(claimed, estimate=estimate)
        stride = await self._stride(replay)
        pause_seconds = stride.found / replay.events_per_second
        after = await self._replays.step(claimed, stride, pause_seconds=pause_seconds)
        if after is not None and after.state == "waiting":
            heapq.heappush(self._pauses, self._clock.monotonic() + pause_seconds)
        elif after is not None:
            self._log.info("webhook_replayed", webhook=after.webhook_id, replay=after.id, events=after.sent)

    async def _stride(self, replay: Replay) -> Stride:
        webhook = await self._subscriptions.find(replay.webhook_id)
        if webhook is None:
            return Stride((), 0, None, is_last=True)
        places = await self._search.find(query_of(replay, webhook), count_max=LINES_MAX, after=replay.after)
        if not places:
            return Stride((), 0, None, is_last=True)
        lines = [line.encode() for line in await self._search.lines(places)]
        batches = batches_of(replay, webhook, lines, page=places[0])
        return Stride(batches, len(places), places[-1], is_last=len(places) < LINES_MAX)

    async def _wait(self, claimed: ClaimedReplay | None, error: UnavailableError) -> None:
        """The claim lapses, and the job is taken up again, by this process or another."""
        self._failures += 1
        self._log.warning("webhook_replay_waiting", reason=str(error))
        if claimed is not None:
            with suppress(UnavailableError):  # it may be the database that is away
                await self._replays.note(claimed, trouble=str(error))
        await self._clock.sleep(self._backoff.wait_seconds(self._failures, self._rng))


def query_of(replay: Replay, webhook: Webhook) -> EventQuery:
    """What the store is asked; excepted subaccounts are left out later."""
    is_all = webhook.subaccount_id == SUBACCOUNTS_ALL
    return EventQuery(
        from_ms=replay.from_ms,
        to_ms=replay.to_ms,
        types=webhook.events,
        subaccount_ids=None if is_all else frozenset({webhook.subaccount_id}),
    )


def batches_of(replay: Replay, webhook: Webhook, lines: Sequence[bytes], *, page: Place) -> list[Batch]:
    """The events of one page, wrapped as they were at first; ids come from the job and the page."""
    elements = [_wrapped(line) for line in lines if _is_meant(webhook, line)]
    batches: list[Batch] = []
    while elements:
        count = _fitting(elements, webhook.batch_events_max)
        name = f"{replay.id}/{page.timestamp_ms}/{page.envelope_key}/{page.line_number}/{len(batches)}"
        batches.append(
            Batch(
                id=str(uuid5(REPLAY_NAMESPACE, name)),
                webhook_id=webhook.id,
                target=webhook.target,
                headers=dict(webhook.custom_headers),
                body=b"[%b]" % b",".join(elements[:count]),
                event_count=count,
                parent_id=replay.id,
            )
        )
        elements = elements[count:]
    return batches


def _fitting(elements: Sequence[bytes], count_max: int) -> int:
    """How many of the first fit a batch; one does."""
    body_bytes = 1
    for count, element in enumerate(elements[:count_max]):
        body_bytes += len(element) + 1
        if body_bytes > BODY_BYTES_MAX and count:
            return count
    return min(count_max, len(elements))


def _wrapped(line: bytes) -> bytes:
    return b'{"msys":{"%b":%b}}' % (GROUP_OF[_event.decode(line).type].encode(), line)


def _is_meant(webhook: Webhook, line: bytes) -> bool:
    if not webhook.exception_subaccounts:
        return True
    return int(_event.decode(line).subaccount_id or PRIMARY_ACCOUNT) not in webhook.exception_subaccounts


_event: Final = msgspec.json.Decoder(_Event)
