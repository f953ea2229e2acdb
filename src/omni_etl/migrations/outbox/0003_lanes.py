"""Segments, a lane for each webhook in place of one row of counters, a note of each attempt."""

import sqlalchemy as sa
from alembic import op

revision = "outbox_0003"
down_revision = "outbox_0002"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # no index on an alphabet
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
COUNTS = (
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


def upgrade() -> None:
    segments()
    batches()
    attempts()
    lanes()
    op.drop_table("outbox_counters")
    op.drop_table("outbox_last_attempts")


def segments() -> None:
    op.create_table(
        "outbox_segments",
        sa.Column("id", ID, nullable=False),
        sa.Column("webhook_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("event_count", sa.Integer(), nullable=False),
        sa.Column("element_bytes", sa.Integer(), nullable=False),
        sa.Column("put_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("elements", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "outbox_segments_of_webhook",
        "outbox_segments",
        ["webhook_id", "id", "put_at_ms", "event_count", "element_bytes"],
    )


def batches() -> None:
    op.add_column("outbox_batches", sa.Column("body_bytes", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("outbox_batches", sa.Column("parent_id", TEXT, nullable=True))
    op.execute(
        sa.text(
            "UPDATE outbox_batches SET body_bytes ="
            " (SELECT length(body) FROM outbox_bodies WHERE batch_id = outbox_batches.id),"
            " state = CASE WHEN state = 'given_up' THEN state WHEN attempts > 0 THEN 'retry' ELSE 'fresh' END"
        )
    )
    op.drop_index("outbox_batches_due", "outbox_batches")
    op.create_index("outbox_batches_of_webhook", "outbox_batches", ["webhook_id", "state", "due_at_ms"])
    is_given_up = sa.text("state = 'given_up'")
    op.create_index(
        "outbox_batches_given_up",
        "outbox_batches",
        ["due_at_ms"],
        sqlite_where=is_given_up,
        postgresql_where=is_given_up,
    )


def attempts() -> None:
    op.create_table(
        "outbox_attempts",
        sa.Column("webhook_id", TEXT, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("batch_id", TEXT, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("event_count", sa.Integer(), nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("answer", TEXT, nullable=False),
        sa.Column("excerpt", TEXT, nullable=False),
        sa.Column("latency_ms", sa.Integer(), nullable=False),
        sa.Column("next_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("webhook_id", "at_ms", "batch_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("outbox_attempts_at", "outbox_attempts", ["at_ms"])


def lanes() -> None:
    """What waits and what was given up is counted anew; deliveries until now belong to the lane without a name."""
    op.create_table(
        "outbox_lanes",
        sa.Column("webhook_id", TEXT, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False, server_default="0") for name in COUNTS),
        sa.Column("failing_since_ms", sa.BigInteger(), nullable=True),
        sa.Column("succeeded_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("failed_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("stopped_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("stopped_reason", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("webhook_id"),
        sqlite_with_rowid=False,
    )
    op.execute(
        sa.text(
            "INSERT INTO outbox_lanes (webhook_id, waiting_batches, waiting_events, waiting_bytes,"
            " given_up_batches, given_up_events, succeeded_at_ms, failed_at_ms)"
            " SELECT of.webhook_id,"
            " coalesce(sum(CASE WHEN state <> 'given_up' THEN 1 END), 0),"
            " coalesce(sum(CASE WHEN state <> 'given_up' THEN event_count END), 0),"
            " coalesce(sum(CASE WHEN state <> 'given_up' THEN body_bytes END), 0),"
            " coalesce(sum(CASE WHEN state = 'given_up' THEN 1 END), 0),"
            " coalesce(sum(CASE WHEN state = 'given_up' THEN event_count END), 0),"
            " max(succeeded_at_ms), max(failed_at_ms)"
            " FROM (SELECT webhook_id FROM outbox_batches UNION SELECT webhook_id FROM outbox_last_attempts) AS of"
            " LEFT JOIN outbox_batches ON outbox_batches.webhook_id = of.webhook_id"
            " LEFT JOIN outbox_last_attempts ON outbox_last_attempts.webhook_id = of.webhook_id"
            " GROUP BY of.webhook_id"
        )
    )
    op.execute(
        sa.text(
            "INSERT INTO outbox_lanes (webhook_id, delivered_batches, delivered_events)"
            " SELECT '', delivered_batches, delivered_events FROM outbox_counters WHERE delivered_batches > 0"
        )
    )
