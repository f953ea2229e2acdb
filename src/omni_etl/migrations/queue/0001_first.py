"""Messages, and their payloads apart."""

import sqlalchemy as sa
from alembic import op

revision = "queue_0001"
down_revision = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # no index on an alphabet


def upgrade() -> None:
    op.create_table(
        "queue_messages",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("queue_name", TEXT, nullable=False),
        sa.Column("ready_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("receipt", TEXT, nullable=True),
        sa.Column("receive_count", sa.Integer(), nullable=False),
        sa.Column("sent_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("queue_messages_ready", "queue_messages", ["queue_name", "ready_at_ms"], unique=False)
    op.create_index("queue_messages_sent", "queue_messages", ["queue_name", "sent_at_ms"], unique=False)
    op.create_table(
        "queue_payloads",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("header", TEXT, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["id"], ["queue_messages.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
