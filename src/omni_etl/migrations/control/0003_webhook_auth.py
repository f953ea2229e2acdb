"""Webhooks: the token of old receivers, and where OAuth 2 tokens come from."""

import sqlalchemy as sa
from alembic import op

revision = "control_0003"
down_revision = "control_0002"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # no index on an alphabet


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("auth_token", TEXT, nullable=True))
    op.add_column("webhooks", sa.Column("token_url", TEXT, nullable=True))
    op.add_column("webhooks", sa.Column("token_body", sa.JSON(), nullable=True))
    op.add_column("webhooks", sa.Column("token_expires_at_ms", sa.BigInteger(), nullable=True))
