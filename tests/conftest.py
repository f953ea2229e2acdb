"""What every test shares: how hypothesis behaves, and one store host and one PostgreSQL, because a start takes a second."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count

import pytest
from hypothesis import settings
from tests.postgresql_server import PostgresqlServer, postgresql_server
from tests.store_process import StoreProcess, store_process

from omni_etl.backends.clickhouse import ClickHouseStore

# A slow machine is no fault of the code, so examples have no deadline; a found example is printed, to be kept as a test.
settings.register_profile("omni", deadline=None, print_blob=True)
settings.load_profile("omni")

_databases = count(1)


@pytest.fixture(scope="session", autouse=True)
def _nobodys_account() -> Iterator[None]:
    """No test finds the AWS account of whoever runs it, nor asks a metadata service."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        yield


@pytest.fixture(scope="session")
def store_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    """The host that tests share; whoever stops or kills one starts its own."""
    with store_process(tmp_path_factory.mktemp("store")) as process:
        yield process


@pytest.fixture(scope="session")
def next_database() -> Callable[[], str]:
    """Names of empty databases on the shared host, for tests that need many."""
    return lambda: f"test_{next(_databases)}"


@pytest.fixture
def store_url(store_host: StoreProcess, next_database: Callable[[], str]) -> str:
    """An empty database on the shared host."""
    return store_host.url(next_database())


@pytest.fixture
async def clickhouse(store_url: str) -> AsyncIterator[ClickHouseStore]:
    """An open, empty store on the shared host."""
    store = ClickHouseStore(store_url, timeout_seconds=30)
    await store.open()
    yield store
    await store.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """The server that tests share; whoever stops or kills one starts its own. Skips where none is installed."""
    with postgresql_server() as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql: PostgresqlServer) -> str:
    """An empty database on the shared server."""
    return postgresql.empty_database("test")
