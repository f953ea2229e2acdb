"""The store that settings name."""

from __future__ import annotations

from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.errors import SettingsError
from omni_etl.settings import Settings


def build_store(settings: Settings) -> ClickHouseStore:
    """ClickHouse over HTTP, a server or the embedded host.

    Raises:
        SettingsError: none is named.

    """
    url = settings.store_url.get_secret_value()
    if not url:
        raise SettingsError(
            "OMNI_STORE_URL",
            "nothing",
            "Name a ClickHouse (http://user:password@host:8123/database), or start `omni up`.",
        )
    return ClickHouseStore(url, timeout_seconds=settings.store_timeout_seconds)
