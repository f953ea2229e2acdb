"""The database's parts: control (services, keys, webhooks, suppressions), outbox and queue; and each contract on them."""

from __future__ import annotations

from typing import Final

from omni_etl.backends.database.deliveries import DatabaseDeliveries
from omni_etl.backends.database.engine import Database, open_database
from omni_etl.backends.database.erasures import DatabaseErasures
from omni_etl.backends.database.keys import DatabaseKeys
from omni_etl.backends.database.outbox import DatabaseOutbox
from omni_etl.backends.database.queue import DatabaseQueue
from omni_etl.backends.database.registry import DatabaseRegistry
from omni_etl.backends.database.secret_box import HOW, SETTING, SecretBox, key_of_file, parse_keys
from omni_etl.backends.database.suppression_list import DatabaseSuppressionList
from omni_etl.backends.database.webhooks import DatabaseWebhooks
from omni_etl.clock import Clock
from omni_etl.deliveries import Deliveries
from omni_etl.erasure import Erasures
from omni_etl.errors import SettingsError
from omni_etl.keys import Keys
from omni_etl.outbox import Outbox
from omni_etl.queue import Queue
from omni_etl.registry import Registry
from omni_etl.settings import Settings
from omni_etl.suppression_list import SuppressionList
from omni_etl.webhook import Webhooks

SECRETS_FILE: Final = "secrets.key"  # not in the database's directory, which is copied for backups


def control_database(settings: Settings, clock: Clock) -> Database:
    """Where the fleet's agreements, webhooks and suppressions are."""
    return open_database(_database_url(settings), "control", clock)


def outbox_database(settings: Settings, clock: Clock) -> Database:
    """Where batches wait for their customers."""
    return open_database(_database_url(settings), "outbox", clock)


def build_database_queue(settings: Settings, clock: Clock) -> Queue:
    """The queue that settings name, where it is a database.

    Raises:
        SettingsError: an unknown scheme.

    """
    url = settings.queue_url.get_secret_value()
    url = url or f"sqlite:///{settings.data_dir.absolute() / 'queue' / 'queue.sqlite'}"
    scheme = url.partition(":")[0]
    if scheme not in ("sqlite", "postgresql"):
        fix = "Use sqs://, postgresql://user:password@host:port/name or sqlite:///PATH."
        raise SettingsError("OMNI_QUEUE_URL", f"the scheme {scheme!r}", fix)
    return DatabaseQueue(open_database(url, "queue", clock), clock)


def build_keys(settings: Settings, clock: Clock) -> Keys:
    """Who may call the API."""
    return DatabaseKeys(control_database(settings, clock), clock)


def build_registry(settings: Settings, clock: Clock) -> Registry:
    """What the fleet agrees on."""
    return DatabaseRegistry(control_database(settings, clock), clock)


def build_agreements(settings: Settings, clock: Clock) -> tuple[Registry, Erasures]:
    """What the fleet agrees on and whom it forgets, over one pool of connections."""
    control = control_database(settings, clock)
    return DatabaseRegistry(control, clock), DatabaseErasures(control, clock)


def build_webhooks(settings: Settings, clock: Clock) -> Webhooks:
    """Who is told of which events. Raises as `build_secret_box`."""
    return DatabaseWebhooks(control_database(settings, clock), clock, build_secret_box(settings))


def build_secret_box(settings: Settings) -> SecretBox:
    """What seals secrets in the database: with the keys of the setting, or with one in a file beside SQLite's directory.

    Raises:
        SettingsError: a key that is none; or none for PostgreSQL, where roles on many machines need the same one.

    """
    given = settings.secrets_key.get_secret_value()
    if given:
        return SecretBox(parse_keys(given))
    if _database_url(settings).startswith("postgresql:"):
        raise SettingsError(SETTING, "nothing, and a database in PostgreSQL", HOW)
    return SecretBox([key_of_file(settings.data_dir / SECRETS_FILE)])


def build_suppression_list(settings: Settings, clock: Clock) -> SuppressionList:
    """Who may not be mailed."""
    return DatabaseSuppressionList(control_database(settings, clock), clock)


def build_outbox(settings: Settings, clock: Clock) -> Outbox:
    """Batches that wait for their customers."""
    return DatabaseOutbox(outbox_database(settings, clock), clock)


def build_deliveries(settings: Settings, clock: Clock) -> Deliveries:
    """What became of batches."""
    return DatabaseDeliveries(outbox_database(settings, clock), clock)


def _database_url(settings: Settings) -> str:
    return settings.database_url.get_secret_value() or f"sqlite:///{settings.data_dir.absolute() / 'database'}"
