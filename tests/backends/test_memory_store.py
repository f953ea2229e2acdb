"""backends.memory_store: beside the store's contract (contracts/test_store.py), strict where ClickHouse would be."""

import pytest

from omni_etl import sql
from omni_etl.backends.memory_store import MemoryStore


async def test_a_query_it_does_not_know_is_refused() -> None:
    """A fake that answered anything would let a wrong query pass."""
    with pytest.raises(KeyError):
        await MemoryStore().query("SELECT 1")


async def test_an_empty_store_counts_nothing() -> None:
    """The same shape of answer as the engine's."""
    store = MemoryStore()
    assert await store.query(sql.query("message_events_count")) == [(0,)]
    assert await store.query(sql.query("metrics_by_type")) == []
