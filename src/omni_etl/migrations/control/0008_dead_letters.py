"""Dead letters: that one went back or was discarded, when, and with how many events."""

import sqlalchemy as sa
from alembic import op

revision = "control_0008"
down_revision = "control_0007"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # no index on an alphabet


def upgrade() -> None:
    op.add_column("dead_letter_reasons", sa.Column("left_how", TEXT, nullable=True))
    op.add_column("dead_letter_reasons", sa.Column("left_at_ms", sa.BigInteger(), nullable=True))
    op.add_column("dead_letter_reasons", sa.Column("event_count", sa.BigInteger(), nullable=True))
