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
        self._by_id: dict[str, Webhook] = {}
        self._read_at: float | None = None
        self._gone: set[str] = set()

    async def now(self) -> Sequence[Webhook]:
        """Every webhook as it is now, paused ones too: an event accepted after a webhook was made is sent to it.

        Raises:
            UnavailableError: they could not be read.

        """
        async with self._reading:
            return await self._read()

    async def recent(self) -> Sequence[Webhook]:
        """Every webhook as it was at most a second ago. Raises as `now`."""
        async with self._reading:
            is_old = self._read_at is None or self._clock.monotonic() - self._read_at >= AGE_SECONDS_MAX
            return await self._read() if is_old else self._now

    def known(self, webhook_id: str) -> Webhook | None:
        """One of the last list, however old that is; for who just asked for it, and asks a thousand times."""
        return self._by_id.get(webhook_id)

    async def find(self, webhook_id: str) -> Webhook | None:
        """One of them, or None where it was deleted; one that was just made is no such. Raises as `now`."""
        await self.recent()
        if webhook_id not in self._by_id and webhook_id not in self._gone:
            await self.now()
            if webhook_id not in self._by_id:
                self._gone.add(webhook_id)  # for ever: no id is given twice
        return self._by_id.get(webhook_id)

    async def _read(self) -> Sequence[Webhook]:
        began = self._clock.monotonic()
        before, self._now = self._now, await self._webhooks.all()
        self._read_at = began
        if self._now is not before:  # of a thousand webhooks this is asked for each envelope
            self._by_id = {each.id: each for each in self._now}
        return self._now
