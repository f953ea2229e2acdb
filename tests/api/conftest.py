"""A running API with a key, one with events, and a customer of theirs."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.api.counted_events import Event, decoded, mixed
from tests.api.counted_events import put as put_counted
from tests.api.customer import Customer, serving
from tests.api.server import Api, running

from omni_etl.backends.clickhouse import ClickHouseStore


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """On a database of its own."""
    async with running(tmp_path / "database") as subject:
        subject.key = await subject.parts.keys.create("test")
        yield subject


@pytest.fixture
async def customer() -> AsyncIterator[Customer]:
    """A customer's server that runs."""
    async with serving() as subject:
        yield subject


@pytest.fixture
async def searched(tmp_path: Path, clickhouse: ClickHouseStore, store_url: str) -> AsyncIterator[Api]:
    """An API that searches the events of `clickhouse`."""
    async with running(tmp_path / "database", store_url=store_url) as subject:
        subject.key = await subject.parts.keys.create("test")
        yield subject


@pytest.fixture
async def counted(searched: Api, clickhouse: ClickHouseStore) -> list[Event]:
    """Events of three hours, in several envelopes."""
    lines = [mixed(400, seed=seed) for seed in range(3)]
    for seq, each in enumerate(lines, start=1):
        await put_counted(clickhouse, each, seq=seq)
    return decoded([line for each in lines for line in each])
