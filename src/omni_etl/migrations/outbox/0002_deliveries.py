"""What customers see of attempts: batches that failed, and when each webhook last succeeded and failed."""

import sqlalchemy as sa
from alembic import op

revision = "outbox_0002"
down_revision = "outbox_0001"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # no index on an alphabet


def upgrade() -> None:
    op.create_table(
        "outbox_troubles",
        sa.Column("batch_id", TEXT, nullable=False),
        sa.Column("webhook_id", TEXT, nullable=False),
        sa.Column("event_count", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("answer", TEXT, nullable=False),
        sa.Column("delivered", sa.Boolean(), nullable=False),
        sa.Column("latency_ms", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id"),
    )
    op.create_index("outbox_troubles_of_webhook", "outbox_troubles", ["webhook_id", "at_ms"], unique=False)
    op.create_index("ix_outbox_troubles_at_ms", "outbox_troubles", ["at_ms"], unique=False)
    op.create_table(
        "outbox_last_attempts",
        sa.Column("webhook_id", TEXT, nullable=False),
        sa.Column("succeeded_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("failed_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("webhook_id"),
        sqlite_with_rowid=False,
    )
