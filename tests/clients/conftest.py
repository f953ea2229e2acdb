"""Filled systems for all clients, one on SQLite and one on PostgreSQL: to start and fill one takes some seconds."""

from collections.abc import Iterator

import pytest
from tests.clients.filled import Filled, filled
from tests.postgresql_server import PostgresqlServer


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.engines)])
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """Running."""
    database_url = None
    if request.param == "postgresql":
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        database_url = server.empty_database()
    with filled(tmp_path_factory.mktemp("filled"), database_url) as subject:
        yield subject
