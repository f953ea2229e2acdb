"""Webhooks: events cut into batches for customers (`match`), kept (`outbox`) and delivered (`lanes`, `attempt`)."""

from __future__ import annotations

import random

from omni_etl.clock import Clock
from omni_etl.envelope import Envelope
from omni_etl.event import TYPES
from omni_etl.outbox import Outbox
from omni_etl.poster import Poster
from omni_etl.service import Deadline
from omni_etl.services.webhooks.attempt import Attempts
from omni_etl.services.webhooks.guard import is_allowed, parse_networks
from omni_etl.services.webhooks.lanes import DeliveryLimits, Lanes
from omni_etl.services.webhooks.match import cut
from omni_etl.services.webhooks.subscriptions import Subscriptions
from omni_etl.webhook import Webhooks

__all__ = ["DeliveryLimits", "WebhooksService", "is_allowed", "parse_networks"]


class WebhooksService:
    """The service. An envelope is done when its batches lie in the outbox; delivery runs beside it.

    An envelope that no webhook wanted is noted in the ledger all the same: which webhooks there were is decided once, so
    that a redo after a new webhook was made sends it nothing of the past.
    """

    name = "webhooks"
    types = TYPES

    def __init__(
        self,
        *,
        webhooks: Webhooks,
        outbox: Outbox,
        poster: Poster,
        clock: Clock,
        rng: random.Random,
        limits: DeliveryLimits,
    ) -> None:
        self._webhooks = webhooks
        self._outbox = outbox
        self._poster = poster
        self._subscriptions = Subscriptions(webhooks, clock)
        attempts = Attempts(subscriptions=self._subscriptions, outbox=outbox, poster=poster, clock=clock, rng=rng)
        self._lanes = Lanes(
            outbox=outbox, subscriptions=self._subscriptions, attempts=attempts, limits=limits, clock=clock, rng=rng
        )

    async def open(self) -> None:
        """Reach the database and make the connection pool."""
        await self._webhooks.open()
        await self._outbox.open()
        await self._poster.open()

    async def apply(self, envelope: Envelope, deadline: Deadline) -> None:
        """Put the envelope's batches into the outbox, once, for the webhooks as they are now."""
        batches = cut(envelope, await self._subscriptions.now())
        deadline.check()
        await self._lanes.put(envelope, batches)

    async def run(self) -> None:
        """Deliver what is due, until cancelled."""
        await self._lanes.run()

    async def close(self) -> None:
        """Give back connections."""
        await self._poster.close()
        await self._outbox.close()
        await self._webhooks.close()
