"""The message_events service on its store."""

from __future__ import annotations

from omni_etl.service import Service
from omni_etl.services.message_events import MessageEvents
from omni_etl.settings import Settings
from omni_etl.wiring.stores import build_store


def build(settings: Settings) -> Service:
    """Entry point `message_events`."""
    return MessageEvents(build_store(settings), gather_seconds=settings.store_gather_seconds)
