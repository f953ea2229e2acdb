"""The tables as the code sees them are the tables that the migrations make."""

from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData
from tests.backends.database.conftest import opened

from omni_etl.backends.database.engine import open_database
from omni_etl.backends.database.migrate import Part, version_table
from omni_etl.backends.database.outbox_tables import outbox_batches
from omni_etl.backends.database.tables import CONTROL, OUTBOX, QUEUE, QUEUE_DAYS
from omni_etl.clock import ManualClock


@pytest.mark.parametrize(
    ("part", "tables", "more"),
    [("control", CONTROL, []), ("outbox", outbox_batches.metadata, []), ("queue", QUEUE, [QUEUE_DAYS])],
)
async def test_migrations_make_these_tables(
    database_url: str, tmp_path: Path, clock: ManualClock, part: Part, tables: MetaData, more: list[MetaData]
) -> None:
    """A column added here and forgotten there is found before a customer finds it."""
    is_sqlite = database_url.startswith("sqlite:")
    wanted = [tables] if is_sqlite else [tables, *more]
    options = {"version_table": version_table(part), "compare_type": True}

    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), wanted))  # type: ignore[arg-type]  # it takes several

    url = f"sqlite:///{tmp_path}/file.sqlite" if is_sqlite and part == "queue" else database_url
    async with opened(open_database(url, part, clock)) as database, database.reading() as connection:
        assert await connection.run_sync(differences) == []


def test_no_table_stands_in_two_parts() -> None:
    """The parts may share one PostgreSQL database."""
    names = [name for metadata in (CONTROL, OUTBOX, QUEUE, QUEUE_DAYS) for name in metadata.tables]
    assert len(names) == len(set(names))
