"""Batches, their bodies, counters, and webhooks' ledger."""

import sqlalchemy as sa
from alembic import op

revision = "outbox_0001"
down_revision = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # no index on an alphabet


def upgrade() -> None:
    op.create_table(
        "outbox_batches",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("webhook_id", TEXT, nullable=False),
        sa.Column("target", TEXT, nullable=False),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("event_count", sa.Integer(), nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("cut_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("claim", TEXT, nullable=True),
        sa.Column("last_answer", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("outbox_batches_due", "outbox_batches", ["state", "due_at_ms"], unique=False)
    op.create_table(
        "outbox_counters",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("waiting_batches", sa.BigInteger(), nullable=False),
        sa.Column("waiting_events", sa.BigInteger(), nullable=False),
        sa.Column("delivered_batches", sa.BigInteger(), nullable=False),
        sa.Column("delivered_events", sa.BigInteger(), nullable=False),
        sa.Column("given_up_batches", sa.BigInteger(), nullable=False),
        sa.Column("given_up_events", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "webhooks_ledger",
        sa.Column("key", TEXT, nullable=False),
        sa.Column("checksum", TEXT, nullable=False),
        sa.Column("applied_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_webhooks_ledger_applied_at_ms", "webhooks_ledger", ["applied_at_ms"], unique=False)
    op.create_table(
        "outbox_bodies",
        sa.Column("batch_id", TEXT, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["outbox_batches.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("batch_id"),
    )
    op.execute(sa.text("INSERT INTO outbox_counters VALUES (1, 0, 0, 0, 0, 0, 0)"))
