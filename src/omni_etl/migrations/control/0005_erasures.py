"""Erasures: the keyed hash of each recipient of whom nothing is kept, since when, and what was erased."""

import sqlalchemy as sa
from alembic import op

revision = "control_0005"
down_revision = "control_0004"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # no index on an alphabet


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("finished_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("with_suppressions", sa.Boolean(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_erasures_name", "erasures", ["name"], unique=False)
