"""The tables as the code sees them are the tables that the migrations make."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, create_engine

from omni_etl.backends.database import sqlite
from omni_etl.backends.database.migrate import Part, version_table
from omni_etl.backends.database.tables import CONTROL, OUTBOX, QUEUE


@pytest.mark.parametrize(("part", "metadata"), [("control", CONTROL), ("outbox", OUTBOX), ("queue", QUEUE)])
def test_migrations_make_these_tables(tmp_path: Path, part: Part, metadata: MetaData) -> None:
    """A column added here and forgotten there is found before a customer finds it."""
    path = tmp_path / "file.sqlite"
    sqlite.migrate_file(path, part)
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        options = {"version_table": version_table(part), "compare_type": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
    engine.dispose()


def test_no_table_stands_in_two_parts() -> None:
    """The parts may share one PostgreSQL database."""
    names = [name for metadata in (CONTROL, OUTBOX, QUEUE) for name in metadata.tables]
    assert len(names) == len(set(names))
