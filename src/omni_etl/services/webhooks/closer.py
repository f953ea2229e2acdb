"""Closer: joins segments into batches, when they are many, large or old enough.

Any process may close what any other put; the lane's row is the lease, and its transaction the time.
"""

from __future__ import annotations

from typing import Final

from omni_etl import telemetry
from omni_etl.bell import Bell
from omni_etl.clock import Clock
from omni_etl.errors import UnavailableError
from omni_etl.outbox import Closing, DueBatch, OpenSegments, Outbox
from omni_etl.services.webhooks.lanes import FRESH_BYTES_MAX, DeliveryLimits, Lanes
from omni_etl.services.webhooks.match import BODY_BYTES_MAX
from omni_etl.services.webhooks.subscriptions import Subscriptions
from omni_etl.webhook import Webhook

LOOK_SECONDS: Final = 0.1  # while something waits
POLL_SECONDS: Final = 1.0  # for what other processes put and did not close
CLOSED_MAX: Final = 50  # webhooks of one transaction, see engine.py


class Closer:
    """One step after another: `close`, then `wait`."""

    def __init__(
        self, *, outbox: Outbox, subscriptions: Subscriptions, lanes: Lanes, limits: DeliveryLimits, clock: Clock
    ) -> None:
        self._outbox = outbox
        self._subscriptions = subscriptions
        self._lanes = lanes
        self._limits = limits
        self._clock = clock
        self._news = Bell()
        self._seen = 0
        self._has_more = False
        self.has_left_to_look = False
        """Batches of the last `close` wait in the outbox."""
        self._log = telemetry.get_logger(service="webhooks")

    def wake(self) -> None:
        """A segment was put."""
        self._news.ring()

    async def wait(self) -> None:
        """Until it may be time again."""
        if self._has_more:
            await self._clock.sleep(LOOK_SECONDS)
        else:
            await self._news.wait(self._seen, clock=self._clock, seconds=POLL_SECONDS)

    async def close(self, *, claim_seconds: int) -> list[DueBatch]:
        """Close what is due; the batches that were claimed, to be tried at once.

        Raises:
            UnavailableError: the outbox is away.

        """
        self._seen, self._has_more, self.has_left_to_look = self._news.rings, False, False
        found = await self._outbox.open_segments()
        if found:
            await self._subscriptions.recent()
        closings: list[Closing] = []
        claimed_bytes = 0
        for each in sorted(found, key=lambda each: each.oldest_at_ms):  # a step may not reach them all
            webhook = self._subscriptions.known(each.webhook_id) or await self._subscriptions.find(each.webhook_id)
            if webhook is None:
                await self._drop(each.webhook_id)
            elif self._is_due(each, webhook):
                closings.append(self._closing(each, webhook, claimed_bytes=claimed_bytes))
                claimed_bytes += each.element_bytes * closings[-1].is_claimed
        self._has_more = bool(found)
        self.has_left_to_look = any(not each.is_claimed for each in closings)
        claimed: list[DueBatch] = []
        for start in range(0, len(closings), CLOSED_MAX):
            try:
                claimed += await self._outbox.join(closings[start : start + CLOSED_MAX], claim_seconds=claim_seconds)
            except UnavailableError:
                if not claimed:
                    raise
                break  # what was joined before is on its way; the rest is found again
        return claimed

    async def _drop(self, webhook_id: str) -> None:
        """Of a webhook that was deleted: nobody wants them any more. Counted, and said."""
        events = await self._outbox.drop_segments(webhook_id)
        self._log.warning("webhook_events_dropped", webhook=webhook_id, events=events, reason="it was deleted")

    def _is_due(self, found: OpenSegments, webhook: Webhook) -> bool:
        age_seconds = self._clock.now() - found.oldest_at_ms / 1000
        is_full = found.event_count >= webhook.batch_events_max or found.element_bytes >= BODY_BYTES_MAX
        return is_full or not 0 <= age_seconds < self._limits.close_seconds

    def _closing(self, found: OpenSegments, webhook: Webhook, *, claimed_bytes: int) -> Closing:
        age_seconds = self._clock.now() - found.oldest_at_ms / 1000
        has_memory = self._lanes.fresh_bytes + claimed_bytes + found.element_bytes <= FRESH_BYTES_MAX
        return Closing(
            webhook_id=webhook.id,
            target=webhook.target,
            headers=dict(webhook.custom_headers),
            events_max=webhook.batch_events_max,
            is_everything=not 0 <= age_seconds < self._limits.close_seconds,
            is_claimed=has_memory and self._lanes.is_eager(self._lanes.lane(webhook.id)),
        )
