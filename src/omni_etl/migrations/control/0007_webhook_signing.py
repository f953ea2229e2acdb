"""Webhooks: secrets that sign, sealed; the program gives them to webhooks of before, since only it has the key."""

import sqlalchemy as sa
from alembic import op

revision = "control_0007"
down_revision = "control_0006"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # no index on an alphabet


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("signing", TEXT, nullable=True))
