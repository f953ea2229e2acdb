"""Tables as SQLAlchemy sees them, the outbox's beside in `outbox_tables`; `migrations/` makes them, and a test compares.

Times are milliseconds since the epoch.

The three parts are files of their own in SQLite and may share one database in PostgreSQL, so no name stands twice.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    text,
)

from omni_etl.backends.database.texts import AnyText, KeyText

CONTROL: Final = MetaData()
OUTBOX: Final = MetaData()
QUEUE: Final = MetaData()
QUEUE_DAYS: Final = MetaData()
"""In PostgreSQL only."""

BigId: Final = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only where the type is spelled INTEGER."""

service_registrations: Final = Table(
    "service_registrations",
    CONTROL,
    Column("name", AnyText, primary_key=True),
    Column("registered_at_ms", BigInteger, nullable=False),
    Column("retired", Boolean, nullable=False),
)

fleet_words: Final = Table(
    "fleet_words",
    CONTROL,
    Column("name", AnyText, primary_key=True),
    Column("value", AnyText, nullable=False),
)

role_reports: Final = Table(
    "role_reports",
    CONTROL,
    Column("role", AnyText, primary_key=True),
    Column("instance", AnyText, primary_key=True),
    Column("seen_at_ms", BigInteger, nullable=False, index=True),
    Column("state", JSON, nullable=False),
)

dead_letter_reasons: Final = Table(
    "dead_letter_reasons",
    CONTROL,
    Column("service", AnyText, primary_key=True),
    Column("key", AnyText, primary_key=True),
    Column("reason", AnyText, nullable=False),
    Column("died_at_ms", BigInteger, nullable=False, index=True),
    Column("left_how", AnyText),  # null while it is in
    Column("left_at_ms", BigInteger),
    Column("event_count", BigInteger),
)

api_keys: Final = Table(
    "api_keys",
    CONTROL,
    Column("id", AnyText, primary_key=True),
    Column("name", AnyText, nullable=False),
    Column("secret_sha256", LargeBinary, nullable=False, unique=True),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger),
    Column("subaccount_id", BigInteger),
    Column("grants", JSON(none_as_null=True)),
)

webhooks: Final = Table(
    "webhooks",
    CONTROL,
    Column("id", AnyText, primary_key=True),
    Column("name", AnyText, nullable=False),
    Column("target", AnyText, nullable=False),
    Column("events", JSON, nullable=False),
    Column("subaccount_id", BigInteger, nullable=False),
    Column("exception_subaccounts", JSON, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("custom_headers", JSON, nullable=False),
    Column("auth_header", AnyText),
    Column("auth_token", AnyText),
    Column("token_url", AnyText),
    Column("token_body", JSON),
    Column("token_expires_at_ms", BigInteger),
    Column("retry_schedule", AnyText, nullable=False, server_default="standard"),
    Column("batch_events_max", Integer, nullable=False, server_default="100"),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("signing", AnyText),  # as `auth_header`, `auth_token` and `token_body` sealed, see secret_box.py
)

webhooks_version: Final = Table(  # one row, which every change of a webhook moves
    "webhooks_version",
    CONTROL,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
)

suppressions: Final = Table(
    "suppressions",
    CONTROL,
    Column("recipient", KeyText, primary_key=True),  # first: an address is asked for, often of all subaccounts
    Column("subaccount_id", BigInteger, primary_key=True, autoincrement=False),
    Column("type", AnyText, primary_key=True),
    Column("list_id", AnyText, primary_key=True),  # empty: of no list
    Column("suppressed", Boolean, nullable=False),
    Column("said_at_ms", BigInteger, nullable=False),
    Column("said_id", AnyText, nullable=False),
    Column("source", AnyText, nullable=False),
    Column("description", AnyText, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("change", BigInteger, nullable=False),  # grows in the order of commits
    sqlite_with_rowid=False,
)
Index(
    "suppressions_in_force",
    suppressions.c.subaccount_id,
    suppressions.c.said_at_ms,
    sqlite_where=text("suppressed = 1"),
    postgresql_where=text("suppressed"),
)
Index(
    "suppressions_updated",
    suppressions.c.said_at_ms,
    sqlite_where=text("suppressed = 1"),
    postgresql_where=text("suppressed"),
)
Index("suppressions_changed", suppressions.c.change, unique=True)
Index(
    "suppressions_tombstones",
    suppressions.c.said_at_ms,
    sqlite_where=text("suppressed = 0"),
    postgresql_where=text("NOT suppressed"),
)

suppression_changes: Final = Table(
    "suppression_changes",
    CONTROL,
    Column("id", Integer, primary_key=True),  # one row, 1
    Column("last", BigInteger, nullable=False),
    Column("forgotten", BigInteger, nullable=False),  # no tombstone of a greater number was pruned
)


erasures: Final = Table(
    "erasures",
    CONTROL,
    Column("id", AnyText, primary_key=True),
    Column("name", LargeBinary, nullable=False, index=True),  # a keyed hash of the recipient
    Column("at_ms", BigInteger, nullable=False),
    Column("finished_at_ms", BigInteger),
    Column("with_suppressions", Boolean, nullable=False),
    Column("counts", JSON, nullable=False),
)


def ledger_table(name: str, metadata: MetaData) -> Table:
    """Which envelopes were applied, with what."""
    return Table(
        name,
        metadata,
        Column("key", AnyText, primary_key=True),
        Column("checksum", AnyText, nullable=False),
        Column("applied_at_ms", BigInteger, nullable=False, index=True),
        sqlite_with_rowid=False,
    )


suppressions_ledger: Final = ledger_table("suppressions_ledger", CONTROL)

queue_messages: Final = Table(
    "queue_messages",
    QUEUE,
    Column("id", BigId, primary_key=True),
    Column("queue_name", AnyText, nullable=False),
    Column("ready_at_ms", BigInteger, nullable=False),  # leased: until when
    Column("receipt", AnyText),
    Column("receive_count", Integer, nullable=False),
    Column("sent_at_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,  # an id is never given twice, so an old receipt meets no new message
)
Index("queue_messages_ready", queue_messages.c.queue_name, queue_messages.c.ready_at_ms)
Index("queue_messages_sent", queue_messages.c.queue_name, queue_messages.c.sent_at_ms)

queue_payloads: Final = Table(
    "queue_payloads",
    QUEUE,
    Column("id", BigId, ForeignKey(queue_messages.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("header", AnyText, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)

queue_payload_days: Final = Table(
    "queue_payload_days",
    QUEUE_DAYS,
    Column(
        "day", BigInteger, primary_key=True, autoincrement=False
    ),  # of the send, since the epoch; one partition each
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("header", AnyText, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    postgresql_partition_by="LIST (day)",
)
