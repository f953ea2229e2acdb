"""Tables of the outbox; see `tables`."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Index, Integer, LargeBinary, Table, text

from omni_etl.backends.database.tables import OUTBOX, BigId, ledger_table
from omni_etl.backends.database.texts import AnyText

webhooks_ledger: Final = ledger_table("webhooks_ledger", OUTBOX)

outbox_segments: Final = Table(
    "outbox_segments",
    OUTBOX,
    Column("id", BigId, primary_key=True),  # in the order in which they are joined
    Column("webhook_id", AnyText, nullable=False),
    Column("name", AnyText, nullable=False),
    Column("event_count", Integer, nullable=False),
    Column("element_bytes", Integer, nullable=False),  # before compression
    Column("put_at_ms", BigInteger, nullable=False),
    Column("elements", LargeBinary, nullable=False),  # zstd
)
Index(  # in the order in which they are joined, with all that `open_segments` asks, so that it reads no elements
    "outbox_segments_of_webhook",
    outbox_segments.c.webhook_id,
    outbox_segments.c.id,
    outbox_segments.c.put_at_ms,
    outbox_segments.c.event_count,
    outbox_segments.c.element_bytes,
)

outbox_batches: Final = Table(
    "outbox_batches",
    OUTBOX,
    Column("id", AnyText, primary_key=True),
    Column("webhook_id", AnyText, nullable=False),
    Column("target", AnyText, nullable=False),
    Column("headers", JSON, nullable=False),
    Column("event_count", Integer, nullable=False),
    Column("body_bytes", Integer, nullable=False),  # as it is kept, compressed
    Column("parent_id", AnyText),
    Column("state", AnyText, nullable=False),  # fresh, retry, given_up; what was delivered is gone
    Column("attempts", Integer, nullable=False),
    Column("cut_at_ms", BigInteger, nullable=False),
    Column("due_at_ms", BigInteger, nullable=False),  # claimed: until when; given up: since when
    Column("claim", AnyText),
    Column("last_answer", AnyText),  # status or reason of the last attempt
)
Index("outbox_batches_of_webhook", outbox_batches.c.webhook_id, outbox_batches.c.state, outbox_batches.c.due_at_ms)
Index(
    "outbox_batches_given_up",
    outbox_batches.c.due_at_ms,
    sqlite_where=text("state = 'given_up'"),
    postgresql_where=text("state = 'given_up'"),
)

outbox_bodies: Final = Table(
    "outbox_bodies",
    OUTBOX,
    Column("batch_id", AnyText, ForeignKey(outbox_batches.c.id, ondelete="CASCADE"), primary_key=True),
    Column("body", LargeBinary, nullable=False),  # zstd
)

outbox_troubles: Final = Table(
    "outbox_troubles",
    OUTBOX,
    Column("batch_id", AnyText, primary_key=True),
    Column("webhook_id", AnyText, nullable=False),
    Column("event_count", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),  # that failed
    Column("answer", AnyText, nullable=False),
    Column("delivered", Boolean, nullable=False),
    Column("latency_ms", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False, index=True),
)
Index("outbox_troubles_of_webhook", outbox_troubles.c.webhook_id, outbox_troubles.c.at_ms)

outbox_attempts: Final = Table(
    "outbox_attempts",
    OUTBOX,
    Column("webhook_id", AnyText, primary_key=True),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("batch_id", AnyText, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("event_count", Integer, nullable=False),
    Column("kind", AnyText, nullable=False),
    Column("answer", AnyText, nullable=False),
    Column("excerpt", AnyText, nullable=False),
    Column("latency_ms", Integer, nullable=False),
    Column("next_at_ms", BigInteger),
    sqlite_with_rowid=False,
)
Index("outbox_attempts_at", outbox_attempts.c.at_ms)

outbox_lanes: Final = Table(
    "outbox_lanes",
    OUTBOX,
    Column("webhook_id", AnyText, primary_key=True),
    *(
        Column(name, BigInteger, nullable=False, server_default="0")
        for name in (
            "waiting_batches",
            "waiting_events",
            "waiting_bytes",
            "delivered_batches",
            "delivered_events",
            "given_up_batches",
            "given_up_events",
            "dropped_events",
            "failures",
            "resume_at_ms",
        )
    ),
    Column("failing_since_ms", BigInteger),
    Column("succeeded_at_ms", BigInteger),
    Column("failed_at_ms", BigInteger),
    Column("stopped_at_ms", BigInteger),
    Column("stopped_reason", AnyText),
    sqlite_with_rowid=False,
)

outbox_replays: Final = Table(
    "outbox_replays",
    OUTBOX,
    Column("id", AnyText, primary_key=True),
    Column("webhook_id", AnyText, nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger, nullable=False),
    Column("events_per_second", Integer, nullable=False),
    Column("state", AnyText, nullable=False),  # waiting, done, cancelled
    Column("created_at_ms", BigInteger, nullable=False),
    Column("estimate", BigInteger),
    Column("found", BigInteger, nullable=False),
    Column("sent", BigInteger, nullable=False),
    Column("batches", BigInteger, nullable=False),
    Column("after", JSON(none_as_null=True)),  # the place of the last event that was looked at
    Column("trouble", AnyText),
    Column("finished_at_ms", BigInteger),
    Column("claim", AnyText),
    Column("due_at_ms", BigInteger, nullable=False),  # claimed: until when
)
Index("outbox_replays_of_webhook", outbox_replays.c.webhook_id, outbox_replays.c.created_at_ms)
Index("outbox_replays_due", outbox_replays.c.state, outbox_replays.c.due_at_ms)
