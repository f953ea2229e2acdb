"""The API on its database and its store."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from fastapi import FastAPI

from omni_etl.api import ApiParts, api_app
from omni_etl.api.ingest import Intake
from omni_etl.api.rate import Rate
from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.backends.clickhouse_events import ClickHouseEvents
from omni_etl.backends.clickhouse_reports import ClickHouseReports
from omni_etl.backends.database.deliveries import DatabaseDeliveries
from omni_etl.backends.database.keys import DatabaseKeys
from omni_etl.backends.database.replays import DatabaseReplays
from omni_etl.backends.database.suppression_list import DatabaseSuppressionList
from omni_etl.backends.database.webhooks import DatabaseWebhooks
from omni_etl.backends.http import AiohttpPoster
from omni_etl.clock import Clock, SystemClock
from omni_etl.errors import SettingsError
from omni_etl.poster import Poster
from omni_etl.settings import Settings
from omni_etl.wiring.audit import SystemAudits
from omni_etl.wiring.databases import build_secret_box, control_database, outbox_database
from omni_etl.wiring.status import read_status
from omni_etl.wiring.stores import build_store
from omni_etl.wiring.webhooks import build_poster

HOSE_SECONDS_MAX: Final = 30.0
HOSE_CONNECTIONS_MAX: Final = 64


def build_api(settings: Settings, stop: asyncio.Event | None = None) -> FastAPI:
    """Everything of `omni api`; `stop` ends answers that have no end of their own.

    Raises:
        SettingsError: an address that is none.

    """
    clock = SystemClock()
    control, outbox = control_database(settings, clock), outbox_database(settings, clock)
    parts = ApiParts(
        keys=DatabaseKeys(control, clock),
        webhooks=DatabaseWebhooks(control, clock, build_secret_box(settings)),
        deliveries=DatabaseDeliveries(outbox, clock),
        replays=DatabaseReplays(outbox, clock),
        poster=build_poster(settings, clock),
        suppression_list=DatabaseSuppressionList(control, clock),
        event_search=ClickHouseEvents(_store(settings)),
        reports=ClickHouseReports(_store(settings)),
        intake=Intake(_hose_poster(clock), _hose_url(settings)),
        rate=Rate(per_second=settings.api_requests_per_second, burst=settings.api_requests_burst, clock=clock),
        status=lambda: read_status(settings),
        audits=SystemAudits(settings),
        clock=clock,
        stop=stop or asyncio.Event(),
    )
    return api_app(parts)


def _store(settings: Settings) -> ClickHouseStore | None:
    """The API starts alone; without a store it answers what needs none."""
    return build_store(settings) if settings.store_url.get_secret_value() else None


def _hose_url(settings: Settings) -> str:
    url = settings.hose_url.get_secret_value()
    if not re.fullmatch(r"https?://[^/@?#]+/?", url):
        raise SettingsError("OMNI_HOSE_URL", "an address of another form", "Write http://host:port.")
    return url.rstrip("/")


def _hose_poster(clock: Clock) -> Poster:
    """To an address that is ours, wherever it is."""
    return AiohttpPoster(
        refusal=lambda _address, _port: None,
        timeout_seconds=HOSE_SECONDS_MAX,
        connections_max=HOSE_CONNECTIONS_MAX,
        clock=clock,
    )
