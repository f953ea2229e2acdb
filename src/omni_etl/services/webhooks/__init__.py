"""Webhooks: events cut for customers (`match`, `closer`), kept (`outbox`) and delivered (`delivery` and what it imports)."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from omni_etl.clock import Clock
from omni_etl.envelope import Envelope
from omni_etl.event import TYPES
from omni_etl.event_search import EventSearch
from omni_etl.outbox import Outbox
from omni_etl.poster import Poster
from omni_etl.replay import Replays
from omni_etl.service import Deadline
from omni_etl.services.webhooks.attempt import Attempts
from omni_etl.services.webhooks.delivery import Delivery
from omni_etl.services.webhooks.guard import Guard, parse_networks, parse_ports
from omni_etl.services.webhooks.lanes import DeliveryLimits
from omni_etl.services.webhooks.match import cut
from omni_etl.services.webhooks.replaying import Replaying
from omni_etl.services.webhooks.subscriptions import Subscriptions
from omni_etl.services.webhooks.tidying import Tidying
from omni_etl.webhook import Webhooks

__all__ = ["DeliveryLimits", "Guard", "WebhooksParts", "WebhooksService", "parse_networks", "parse_ports"]


@dataclass(frozen=True, slots=True)
class WebhooksParts:
    """What the service speaks to."""

    webhooks: Webhooks
    outbox: Outbox
    replays: Replays
    search: EventSearch  # for replays alone
    poster: Poster


class WebhooksService:
    """The service. An envelope is done when its events lie in the outbox; delivery runs beside it.

    An envelope that no webhook wanted is noted in the ledger all the same: which webhooks there were is decided once, so
    that a redo after a new webhook was made sends it nothing of the past.
    """

    name = "webhooks"
    types = TYPES

    def __init__(
        self,
        parts: WebhooksParts,
        *,
        clock: Clock,
        rng: random.Random,
        limits: DeliveryLimits,
    ) -> None:
        self._parts = parts
        self._subscriptions = subscriptions = Subscriptions(parts.webhooks, clock)
        attempts = Attempts(subscriptions=subscriptions, outbox=parts.outbox, poster=parts.poster, clock=clock, rng=rng)
        self._delivery = Delivery(
            outbox=parts.outbox, subscriptions=subscriptions, attempts=attempts, limits=limits, clock=clock, rng=rng
        )
        self._replaying = Replaying(
            replays=parts.replays, search=parts.search, subscriptions=subscriptions, clock=clock, rng=rng
        )

        self._tidying = Tidying(outbox=parts.outbox, clock=clock)

    async def open(self) -> None:
        """Reach the database and make the connection pool. Not the store: it may be away, and only replays need it."""
        parts = self._parts
        for part in (parts.webhooks, parts.outbox, parts.replays, parts.poster):
            await part.open()

    async def apply(self, envelope: Envelope, deadline: Deadline) -> None:
        """Put the envelope's events into the outbox, once, for the webhooks as they are now."""
        pieces = cut(envelope, await self._subscriptions.now())
        deadline.check()
        await self._delivery.put(envelope, pieces)

    async def run(self) -> None:
        """Deliver what is due, work off replays and keep the outbox small, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._delivery.run())
            tasks.create_task(self._replaying.run())
            tasks.create_task(self._tidying.run())

    async def close(self) -> None:
        """Give back connections."""
        parts = self._parts
        for part in (parts.poster, parts.search, parts.replays, parts.outbox, parts.webhooks):
            await part.close()
