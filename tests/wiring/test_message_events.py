"""wiring.message_events: the entry point."""

import pytest
from tests.wiring.conftest import Make

from omni_etl.errors import SettingsError
from omni_etl.service import Service
from omni_etl.services.message_events import MessageEvents
from omni_etl.wiring import message_events


def test_the_entry_point_builds_the_service_of_its_name(make_settings: Make) -> None:
    """Building reaches for nothing: the store may be away."""
    service: Service = message_events.build(make_settings(store_url="http://127.0.0.1:1/omni"))
    assert service.name == "message_events"


def test_it_needs_a_store(make_settings: Make) -> None:
    """Which the child tells the parent, by the setting's name."""
    with pytest.raises(SettingsError, match=r"^OMNI_STORE_URL: found nothing"):
        message_events.build(make_settings())


def test_what_would_be_dropped_at_once_is_not_stored(make_settings: Make) -> None:
    """By the same setting as the store drops it."""
    service = message_events.build(make_settings(store_url="http://h/omni", retention_events_days=90))
    assert isinstance(service, MessageEvents)
    assert service._kept_days == 90
