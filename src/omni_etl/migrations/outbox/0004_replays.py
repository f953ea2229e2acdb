"""Jobs that send a webhook's events of a time range once more."""

import sqlalchemy as sa
from alembic import op

revision = "outbox_0004"
down_revision = "outbox_0003"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # no index on an alphabet


def upgrade() -> None:
    op.create_table(
        "outbox_replays",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("webhook_id", TEXT, nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=False),
        sa.Column("events_per_second", sa.Integer(), nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("estimate", sa.BigInteger(), nullable=True),
        sa.Column("found", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("batches", sa.BigInteger(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=True),
        sa.Column("trouble", TEXT, nullable=True),
        sa.Column("finished_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("claim", TEXT, nullable=True),
        sa.Column("due_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("outbox_replays_of_webhook", "outbox_replays", ["webhook_id", "created_at_ms"])
    op.create_index("outbox_replays_due", "outbox_replays", ["state", "due_at_ms"])
