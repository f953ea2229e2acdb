"""Keys: what each may do, and for which subaccount it speaks."""

import sqlalchemy as sa
from alembic import op

revision = "control_0002"
down_revision = "control_0001"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("subaccount_id", sa.BigInteger(), nullable=True))
    op.add_column("api_keys", sa.Column("grants", sa.JSON(), nullable=True))
