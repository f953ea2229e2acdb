"""The webhooks service on its outbox."""

from __future__ import annotations

import random
from functools import partial

from omni_etl.backends.http import AiohttpPoster
from omni_etl.clock import Clock, SystemClock
from omni_etl.poster import Poster
from omni_etl.service import Service
from omni_etl.services.webhooks import DeliveryLimits, WebhooksService, is_allowed, parse_networks
from omni_etl.settings import Settings
from omni_etl.wiring.databases import build_outbox, build_webhooks


def build(settings: Settings) -> Service:
    """Entry point `webhooks`."""
    clock = SystemClock()
    return WebhooksService(
        webhooks=build_webhooks(settings, clock),
        outbox=build_outbox(settings, clock),
        poster=build_poster(settings, clock),
        clock=clock,
        rng=random.SystemRandom(),
        limits=DeliveryLimits(settings.webhooks_in_flight_max, settings.webhooks_timeout_seconds),
    )


def build_poster(settings: Settings, clock: Clock) -> Poster:
    """What posts to addresses that outsiders named.

    Raises:
        SettingsError: a network that is none.

    """
    return AiohttpPoster(
        is_allowed=partial(is_allowed, networks=parse_networks(settings.webhooks_allow_networks)),
        timeout_seconds=settings.webhooks_timeout_seconds,
        connections_max=settings.webhooks_in_flight_max,
        clock=clock,
    )
