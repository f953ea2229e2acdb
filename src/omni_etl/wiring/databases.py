"""The database's parts: control (services, keys, webhooks, suppressions), outbox and queue."""

from __future__ import annotations

from typing import Literal

from omni_etl.backends.database.engine import Database, open_database
from omni_etl.backends.database.keys import DatabaseKeys
from omni_etl.backends.database.queue import DatabaseQueue
from omni_etl.backends.database.registry import DatabaseRegistry
from omni_etl.backends.database.webhooks import DatabaseWebhooks
from omni_etl.clock import Clock
from omni_etl.errors import SettingsError
from omni_etl.queue import Queue
from omni_etl.settings import Settings


def control_database(settings: Settings, clock: Clock) -> Database:
    """Where the fleet's agreements, webhooks and suppressions are."""
    return open_database(_database_url(settings), "control", clock)


def outbox_database(settings: Settings, clock: Clock) -> Database:
    """Where batches wait for their customers."""
    return open_database(_database_url(settings), "outbox", clock)


def build_queue(settings: Settings, clock: Clock) -> Queue:
    """The queue that settings name.

    Raises:
        SettingsError: an unknown scheme.

    """
    url = settings.queue_url or f"sqlite:///{settings.data_dir.absolute() / 'queue' / 'queue.sqlite'}"
    if not url.startswith("sqlite:"):
        raise SettingsError("OMNI_QUEUE_URL", f"the scheme {url.partition(':')[0]!r}", "Use sqlite:///PATH.")
    return DatabaseQueue(open_database(url, "queue", clock), clock)


def build_control(
    part: Literal["keys", "registry", "webhooks"], settings: Settings, clock: Clock
) -> DatabaseKeys | DatabaseRegistry | DatabaseWebhooks:
    """One contract on the control database, by its name."""
    database = control_database(settings, clock)
    if part == "keys":
        return DatabaseKeys(database, clock)
    return DatabaseRegistry(database, clock) if part == "registry" else DatabaseWebhooks(database, clock)


def _database_url(settings: Settings) -> str:
    return settings.database_url.get_secret_value() or f"sqlite:///{settings.data_dir.absolute() / 'database'}"
