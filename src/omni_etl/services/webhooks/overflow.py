"""Overflow: a backlog that is too large or too old loses its oldest batches; counted by the outbox, and said in the log."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from omni_etl import telemetry
from omni_etl.clock import Clock
from omni_etl.outbox import DueLane, Outbox
from omni_etl.services.webhooks.lanes import DeliveryLimits

# A full backlog loses something with each batch that comes, for as long as the customer is away.
SAID_SECONDS: Final = 60.0


@dataclass(slots=True)
class _Lost:
    """By one webhook, and not said yet."""

    batches: int = 0
    events: int = 0
    said_at: float = -math.inf


class Overflow:
    """Asked at each look, for each webhook for which something waits."""

    def __init__(self, *, outbox: Outbox, limits: DeliveryLimits, clock: Clock) -> None:
        self._outbox = outbox
        self._limits = limits
        self._clock = clock
        self._lost: dict[str, _Lost] = {}
        self._log = telemetry.get_logger(service="webhooks")

    async def limit(self, found: DueLane, now_ms: float) -> bool:
        """A step; whether there may be more to drop."""
        webhook_id, bytes_max = found.lane.webhook_id, self._limits.backlog_bytes_max
        oldest_ms = min(each for each in (found.fresh_due_at_ms, found.retry_due_at_ms, math.inf) if each is not None)
        cut_after_ms = int(now_ms - self._limits.backlog_seconds_max * 1000)
        if found.lane.waiting_bytes > bytes_max or oldest_ms < cut_after_ms:
            dropped = await self._outbox.drop_overflow(webhook_id, bytes_max=bytes_max, cut_after_ms=cut_after_ms)
            if dropped.batches:
                lost = self._lost.setdefault(webhook_id, _Lost())
                lost.batches += dropped.batches
                lost.events += dropped.events
            return dropped.batches > 0
        return False

    def say(self) -> None:
        """What went: at once, and then once a minute what went meanwhile."""
        now = self._clock.monotonic()
        for webhook_id, lost in list(self._lost.items()):
            if now < lost.said_at + SAID_SECONDS:
                continue
            if not lost.batches:
                del self._lost[webhook_id]
                continue
            said = {"webhook": webhook_id, "batches": lost.batches, "events": lost.events}
            self._log.error("webhook_events_dropped", reason="its backlog is full", **said)
            self._lost[webhook_id] = _Lost(said_at=now)
