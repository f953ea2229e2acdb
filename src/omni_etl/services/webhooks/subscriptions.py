"""Subscriptions: the webhooks, read anew for each envelope; delivery is content with a list a second old."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from omni_etl.clock import Clock
from omni_etl.webhook import Webhook, Webhooks

AGE_SECONDS_MAX: Final = 1.0


class Subscriptions:
    """What the database says, or an error: the ledger keeps what was matched for ever, so a stale list is no answer."""

    def __init__(self, webhooks: Webhooks, clock: Clock) -> None:
        self._webhooks = webhooks
        self._clock = clock
        self._reading = asyncio.Lock()
        self._now: Sequence[Webhook] = ()
        self._read_at: float | None = None

    async def now(self) -> Sequence[Webhook]:
        """Every webhook as it is now, paused ones too: an event accepted after a webhook was made is sent to it.

        Raises:
            UnavailableError: they could not be read.

        """
        async with self._reading:
            began = self._clock.monotonic()
            self._now, self._read_at = await self._webhooks.all(), began
            return self._now

    async def recent(self) -> Sequence[Webhook]:
        """Every webhook as it was at most a second ago. Raises as `now`."""
        async with self._reading:
            began = self._clock.monotonic()
            if self._read_at is None or began - self._read_at >= AGE_SECONDS_MAX:
                self._now = await self._webhooks.all()
                self._read_at = began
            return self._now

    async def find(self, webhook_id: str) -> Webhook | None:
        """One of them, or None where it was deleted. Raises as `now`."""
        return next((each for each in await self.recent() if each.id == webhook_id), None)
