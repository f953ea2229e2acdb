"""The metrics service on its store."""

from __future__ import annotations

from omni_etl.service import Service
from omni_etl.services.metrics import Metrics
from omni_etl.services.store_service import Keeping
from omni_etl.settings import Settings
from omni_etl.store import LEDGER_DAYS
from omni_etl.wiring.stores import build_store, retention_of


def build(settings: Settings) -> Service:
    """Entry point `metrics`."""
    kept_days = min(retention_of(settings).hours_days, LEDGER_DAYS)
    return Metrics(build_store(settings), keeping=Keeping(settings.store_gather_seconds, kept_days))
