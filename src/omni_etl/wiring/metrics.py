"""The metrics service on its store."""

from __future__ import annotations

from omni_etl.service import Service
from omni_etl.services.metrics import Metrics
from omni_etl.settings import Settings
from omni_etl.wiring.stores import build_store


def build(settings: Settings) -> Service:
    """Entry point `metrics`."""
    return Metrics(build_store(settings), gather_seconds=settings.store_gather_seconds)
