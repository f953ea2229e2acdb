"""The webhooks service on its outbox."""

from __future__ import annotations

import random

from omni_etl import telemetry
from omni_etl.backends.clickhouse_events import ClickHouseEvents
from omni_etl.backends.database.outbox import DatabaseOutbox
from omni_etl.backends.database.replays import DatabaseReplays
from omni_etl.backends.http import AiohttpPoster
from omni_etl.clock import Clock, SystemClock
from omni_etl.poster import Poster
from omni_etl.service import Service
from omni_etl.services.webhooks import (
    DeliveryLimits,
    Guard,
    WebhooksParts,
    WebhooksService,
    parse_networks,
    parse_ports,
)
from omni_etl.settings import Settings
from omni_etl.wiring.databases import build_webhooks, outbox_database
from omni_etl.wiring.stores import build_store


def build(settings: Settings) -> Service:
    """Entry point `webhooks`."""
    clock = SystemClock()
    outbox = outbox_database(settings, clock)
    parts = WebhooksParts(
        webhooks=build_webhooks(settings, clock),
        outbox=DatabaseOutbox(outbox, clock),
        replays=DatabaseReplays(outbox, clock),
        search=ClickHouseEvents(build_store(settings) if settings.store_url.get_secret_value() else None),
        poster=build_poster(settings, clock),
    )
    return WebhooksService(
        parts,
        clock=clock,
        rng=random.SystemRandom(),
        limits=DeliveryLimits(
            in_flight_max=settings.webhooks_in_flight_max,
            in_flight_webhook_max=settings.webhooks_in_flight_each_max,
            attempt_seconds_max=settings.webhooks_timeout_seconds,
            close_seconds=settings.webhooks_close_seconds,
            backlog_bytes_max=settings.webhooks_backlog_bytes_max,
            backlog_seconds_max=settings.webhooks_backlog_days_max * 86_400,
        ),
    )


def build_poster(settings: Settings, clock: Clock) -> Poster:
    """What posts to addresses that outsiders named.

    Raises:
        SettingsError: a network that is none, or a port.

    """
    guard = Guard(parse_networks(settings.webhooks_allow_networks), parse_ports(settings.webhooks_allow_ports))
    if guard.is_open_to_all:
        telemetry.get_logger().warning("webhook_guard_open", networks=settings.webhooks_allow_networks)
    return AiohttpPoster(
        refusal=guard.refusal,
        timeout_seconds=settings.webhooks_timeout_seconds,
        connections_max=settings.webhooks_in_flight_max,
        clock=clock,
    )
