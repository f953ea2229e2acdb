"""wiring.stores: the store by its URL."""

import pytest
from tests.wiring.conftest import Make

from omni_etl.errors import SettingsError
from omni_etl.queue import LANE_RETENTION_SECONDS
from omni_etl.wiring.stores import build_store, retention_of


def test_no_store_is_refused_with_what_to_do(make_settings: Make) -> None:
    """There is no store by default: the embedded one is `omni up`'s."""
    with pytest.raises(SettingsError, match=r"^OMNI_STORE_URL: found nothing\. .*`omni up`"):
        build_store(make_settings())


@pytest.mark.parametrize("url", ["clickhouse://omni:hunter2@h:9000/omni", "omni:hunter2@h", "http:///omni"])
def test_another_scheme_is_refused_without_its_password(make_settings: Make, url: str) -> None:
    """Only the scheme is repeated."""
    with pytest.raises(SettingsError) as refused:
        build_store(make_settings(store_url=url))
    assert refused.value.setting == "OMNI_STORE_URL"
    assert "http(s)://user:password@host:port/database" in refused.value.fix
    assert "hunter2" not in str(refused.value)


async def test_a_store_that_answers_is_opened(make_settings: Make, store_url: str) -> None:
    """The whole URL counts: user, password, port and database."""
    store = build_store(make_settings(store_url=store_url))
    await store.open()
    assert await store.epoch() is None
    await store.close()


def test_hours_are_kept_at_least_as_long_as_minutes(make_settings: Make) -> None:
    """Or a month would be told of less far back than each of its minutes."""
    for kept, days in (({}, (10, 31, 731)), ({"retention_events_days": 90, "retention_hours_days": 31}, (90, 31, 31))):
        found = retention_of(make_settings(**kept))
        assert (found.events_days, found.minutes_days, found.hours_days) == days
    with pytest.raises(
        SettingsError, match=r"^OMNI_RETENTION_HOURS_DAYS: found 30, less than OMNI_RETENTION_MINUTES_DAYS \(31\)"
    ):
        build_store(make_settings(store_url="http://h/omni", retention_hours_days=30))


@pytest.mark.parametrize("name", ["retention_events_days", "retention_minutes_days", "retention_hours_days"])
def test_nothing_is_dropped_that_a_lane_may_still_bring(make_settings: Make, name: str) -> None:
    """An envelope may lie there for a week, and what was accepted is to be seen at least once."""
    make_settings(**{name: LANE_RETENTION_SECONDS // 86_400})
    with pytest.raises(SettingsError, match=f"^OMNI_{name.upper()}: found 6"):
        make_settings(**{name: 6})
