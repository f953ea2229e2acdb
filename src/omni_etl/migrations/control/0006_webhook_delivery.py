"""Webhooks: how a batch is cut and repeated, each to its customer's wish."""

import sqlalchemy as sa
from alembic import op

revision = "control_0006"
down_revision = "control_0005"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # no index on an alphabet


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("retry_schedule", TEXT, nullable=False, server_default="standard"))
    op.add_column("webhooks", sa.Column("batch_events_max", sa.Integer(), nullable=False, server_default="100"))
