"""wiring.metrics: the entry point."""

import pytest
from tests.wiring.conftest import Make

from omni_etl.errors import SettingsError
from omni_etl.service import Service
from omni_etl.services.metrics import Metrics
from omni_etl.store import LEDGER_DAYS
from omni_etl.wiring import metrics


def test_the_entry_point_builds_the_service_of_its_name(make_settings: Make) -> None:
    """Building reaches for nothing: the store may be away."""
    service: Service = metrics.build(make_settings(store_url="http://127.0.0.1:1/omni"))
    assert service.name == "metrics"


def test_it_needs_a_store(make_settings: Make) -> None:
    """Which the child tells the parent, by the setting's name."""
    with pytest.raises(SettingsError, match=r"^OMNI_STORE_URL: found nothing"):
        metrics.build(make_settings())


@pytest.mark.parametrize(("hours_days", "kept_days"), [(731, LEDGER_DAYS), (40, 40)])
def test_nothing_is_counted_that_the_ledger_may_have_forgotten(
    make_settings: Make, hours_days: int, kept_days: int
) -> None:
    """Markers go before the hours that they speak of: what comes later than they are kept is not counted again."""
    service = metrics.build(make_settings(store_url="http://h/omni", retention_hours_days=hours_days))
    assert isinstance(service, Metrics)
    assert service._kept_days == kept_days
