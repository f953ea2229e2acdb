"""Subscriptions: the webhooks as they are now, read from the database at most once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from omni_etl.clock import Clock
from omni_etl.webhook import Webhook, Webhooks

AGE_SECONDS_MAX: Final = 1.0


class Subscriptions:
    """A list at most a second old, or an error: the ledger keeps what was matched for ever, so a stale list is no answer."""

    def __init__(self, webhooks: Webhooks, clock: Clock) -> None:
        self._webhooks = webhooks
        self._clock = clock
        self._reading = asyncio.Lock()
        self._now: Sequence[Webhook] = ()
        self._read_at: float | None = None

    async def now(self) -> Sequence[Webhook]:
        """Every webhook, paused ones too.

        Raises:
            UnavailableError: they are too old and could not be read again.

        """
        async with self._reading:
            began = self._clock.monotonic()
            if self._read_at is None or began - self._read_at >= AGE_SECONDS_MAX:
                self._now = await self._webhooks.all()
                self._read_at = began
            return self._now

    async def find(self, webhook_id: str) -> Webhook | None:
        """One of them, or None where it was deleted. Raises as `now`."""
        return next((each for each in await self.now() if each.id == webhook_id), None)
