"""The store that settings name."""

from __future__ import annotations

from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.errors import SettingsError
from omni_etl.settings import Settings
from omni_etl.store import Retention


def build_store(settings: Settings, *, timeout_seconds: float | None = None) -> ClickHouseStore:
    """ClickHouse over HTTP, a server or the embedded host.

    Raises:
        SettingsError: none is named, or it is to keep what it cannot.

    """
    url = settings.store_url.get_secret_value()
    if not url:
        raise SettingsError(
            "OMNI_STORE_URL",
            "nothing",
            "Name a ClickHouse (http://user:password@host:8123/database), or start `omni up`.",
        )
    return ClickHouseStore(
        url, timeout_seconds=timeout_seconds or settings.store_timeout_seconds, retention=retention_of(settings)
    )


def retention_of(settings: Settings) -> Retention:
    """For how long the store keeps what.

    Raises:
        SettingsError: months would be told of less far back than minutes, which are a part of them.

    """
    if settings.retention_hours_days < settings.retention_minutes_days:
        raise SettingsError(
            "OMNI_RETENTION_HOURS_DAYS",
            f"{settings.retention_hours_days}, less than OMNI_RETENTION_MINUTES_DAYS ({settings.retention_minutes_days})",
            "Keep hours at least as long as minutes.",
        )
    return Retention(settings.retention_events_days, settings.retention_minutes_days, settings.retention_hours_days)
