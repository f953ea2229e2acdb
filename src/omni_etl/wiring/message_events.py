"""The message_events service on its store."""

from __future__ import annotations

from omni_etl.service import Service
from omni_etl.services.message_events import MessageEvents
from omni_etl.services.store_service import Keeping
from omni_etl.settings import Settings
from omni_etl.wiring.stores import build_store, retention_of


def build(settings: Settings) -> Service:
    """Entry point `message_events`."""
    keeping = Keeping(settings.store_gather_seconds, retention_of(settings).events_days)
    return MessageEvents(build_store(settings), keeping=keeping)
