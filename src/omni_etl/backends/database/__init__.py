"""The database behind nine contracts: SQLite or PostgreSQL, through SQL that both understand; see product.py."""

from omni_etl.backends.database.deliveries import DatabaseDeliveries
from omni_etl.backends.database.engine import Database, open_database
from omni_etl.backends.database.erasures import DatabaseErasures
from omni_etl.backends.database.keys import DatabaseKeys
from omni_etl.backends.database.outbox import DatabaseOutbox
from omni_etl.backends.database.outbox_erasing import DatabaseOutboxEraser
from omni_etl.backends.database.queue import DatabaseQueue
from omni_etl.backends.database.registry import DatabaseRegistry
from omni_etl.backends.database.suppression_list import DatabaseSuppressionList
from omni_etl.backends.database.webhooks import DatabaseWebhooks

__all__ = [
    "Database",
    "DatabaseDeliveries",
    "DatabaseErasures",
    "DatabaseKeys",
    "DatabaseOutbox",
    "DatabaseOutboxEraser",
    "DatabaseQueue",
    "DatabaseRegistry",
    "DatabaseSuppressionList",
    "DatabaseWebhooks",
    "open_database",
]
