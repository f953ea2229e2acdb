"""Services, words, reports, reasons, keys, webhooks, and suppressions with their ledger."""

import sqlalchemy as sa
from alembic import op

revision = "control_0001"
down_revision = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # no index on an alphabet


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("secret_sha256"),
    )
    op.create_table(
        "dead_letter_reasons",
        sa.Column("service", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("died_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("service", "key"),
    )
    op.create_index("ix_dead_letter_reasons_died_at_ms", "dead_letter_reasons", ["died_at_ms"], unique=False)
    op.create_table(
        "fleet_words",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "role_reports",
        sa.Column("role", TEXT, nullable=False),
        sa.Column("instance", TEXT, nullable=False),
        sa.Column("seen_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("role", "instance"),
    )
    op.create_index("ix_role_reports_seen_at_ms", "role_reports", ["seen_at_ms"], unique=False)
    op.create_table(
        "service_registrations",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("registered_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("retired", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "suppressions",
        sa.Column("recipient", TEXT, nullable=False),
        sa.Column("subaccount_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("suppressed", sa.Boolean(), nullable=False),
        sa.Column("said_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("said_id", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("recipient", "subaccount_id", "type"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "suppressions_in_force",
        "suppressions",
        ["subaccount_id"],
        unique=False,
        sqlite_where=sa.text("suppressed = 1"),
        postgresql_where=sa.text("suppressed"),
    )
    op.create_index(
        "suppressions_tombstones",
        "suppressions",
        ["said_at_ms"],
        unique=False,
        sqlite_where=sa.text("suppressed = 0"),
        postgresql_where=sa.text("NOT suppressed"),
    )
    op.create_table(
        "suppressions_ledger",
        sa.Column("key", TEXT, nullable=False),
        sa.Column("checksum", TEXT, nullable=False),
        sa.Column("applied_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_suppressions_ledger_applied_at_ms", "suppressions_ledger", ["applied_at_ms"], unique=False)
    op.create_table(
        "webhooks",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("target", TEXT, nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("subaccount_id", sa.BigInteger(), nullable=False),
        sa.Column("exception_subaccounts", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("custom_headers", sa.JSON(), nullable=False),
        sa.Column("auth_header", TEXT, nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
