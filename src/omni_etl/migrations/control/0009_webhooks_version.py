"""Webhooks: a number that moves with each change of any of them, so that who has the list knows whether it still holds."""

import sqlalchemy as sa
from alembic import op

revision = "control_0009"
down_revision = "control_0008"


def upgrade() -> None:
    op.create_table(
        "webhooks_version",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute(sa.text("INSERT INTO webhooks_version (id, version) VALUES (1, 1)"))
