"""Suppressions: mailing lists, numbers of changes in the order of commits, and domains as A-labels."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from omni_etl.suppression_list import address_key

revision = "control_0004"
down_revision = "control_0003"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # no index on an alphabet
COLUMNS = "recipient, subaccount_id, type, suppressed, said_at_ms, said_id, source, description, created_at_ms"


def upgrade() -> None:
    op.execute(f"CREATE TABLE suppressions_before AS SELECT {COLUMNS} FROM suppressions")  # noqa: S608 our own words
    op.drop_table("suppressions")
    op.create_table(
        "suppressions",
        sa.Column("recipient", TEXT, nullable=False),
        sa.Column("subaccount_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("list_id", TEXT, nullable=False),
        sa.Column("suppressed", sa.Boolean(), nullable=False),
        sa.Column("said_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("said_id", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("recipient", "subaccount_id", "type", "list_id"),
        sqlite_with_rowid=False,
    )
    _respell()
    op.execute(
        f"""
        INSERT INTO suppressions ({COLUMNS}, list_id, change)
        SELECT {COLUMNS}, '', row_number() OVER (ORDER BY said_at_ms, recipient, subaccount_id, type)
        FROM (
            SELECT *, row_number() OVER (
                PARTITION BY recipient, subaccount_id, type ORDER BY said_at_ms DESC, said_id DESC
            ) AS place
            FROM suppressions_before
        ) AS ranked
        WHERE place = 1
        """  # noqa: S608 our own words
    )
    op.drop_table("suppressions_before")
    _index()
    op.create_table(
        "suppression_changes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("forgotten", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute("INSERT INTO suppression_changes SELECT 1, coalesce(max(change), 0), 0 FROM suppressions")


def _respell() -> None:
    """Both spellings of a domain become one entry."""
    connection = op.get_bind()
    length = "octet_length(recipient)" if connection.dialect.name == "postgresql" else "length(CAST(recipient AS BLOB))"
    rows = sa.text(f"SELECT DISTINCT recipient FROM suppressions_before WHERE {length} <> length(recipient)")  # noqa: S608 our own words
    found = connection.execute(rows).scalars().all()
    changed = [{"old": each, "new": address_key(each)} for each in found if address_key(each) != each]
    if changed:
        statement = sa.text("UPDATE suppressions_before SET recipient = :new WHERE recipient = :old")
        connection.execute(statement, changed)


def _index() -> None:
    in_force: dict[str, Any] = {"sqlite_where": sa.text("suppressed = 1"), "postgresql_where": sa.text("suppressed")}
    tombstone: dict[str, Any] = {
        "sqlite_where": sa.text("suppressed = 0"),
        "postgresql_where": sa.text("NOT suppressed"),
    }
    op.create_index("suppressions_in_force", "suppressions", ["subaccount_id", "said_at_ms"], **in_force)
    op.create_index("suppressions_updated", "suppressions", ["said_at_ms"], **in_force)
    op.create_index("suppressions_tombstones", "suppressions", ["said_at_ms"], **tombstone)
    op.create_index("suppressions_changed", "suppressions", ["change"], unique=True)
