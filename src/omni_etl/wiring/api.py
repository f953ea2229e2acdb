"""The API on its database."""

from __future__ import annotations

from fastapi import FastAPI

from omni_etl.api import ApiParts, api_app
from omni_etl.backends.database.keys import DatabaseKeys
from omni_etl.backends.database.suppression_list import DatabaseSuppressionList
from omni_etl.backends.database.webhooks import DatabaseWebhooks
from omni_etl.clock import SystemClock
from omni_etl.settings import Settings
from omni_etl.wiring.databases import control_database
from omni_etl.wiring.status import read_status


def build_api(settings: Settings) -> FastAPI:
    """Everything of `omni api`."""
    clock = SystemClock()
    control = control_database(settings, clock)
    parts = ApiParts(
        keys=DatabaseKeys(control, clock),
        webhooks=DatabaseWebhooks(control, clock),
        suppression_list=DatabaseSuppressionList(control, clock),
        status=lambda: read_status(settings),
        clock=clock,
    )
    return api_app(parts)
