"""demo.receiver: a customer who counts, and who notices broken promises."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest

from omni_etl.cli.process import serve_http
from omni_etl.demo.receiver import customer_app
from omni_etl.embedded.ports import free_ports


class Customer:
    """Over real HTTP."""

    def __init__(self, client: aiohttp.ClientSession, port: int) -> None:
        self._client = client
        self._url = f"http://127.0.0.1:{port}"

    async def get(self, batch_id: str, *event_ids: str) -> None:
        """A batch comes."""
        body = orjson.dumps([{"msys": {"message_event": {"type": "open", "event_id": each}}} for each in event_ids])
        headers = {"X-MessageSystems-Batch-ID": batch_id}
        async with self._client.post(f"{self._url}/hook", data=body, headers=headers) as answer:
            assert answer.status == 200

    async def probe(self, batch_id: str) -> None:
        """The API tests the target."""
        headers = {"X-MessageSystems-Batch-ID": batch_id}
        async with self._client.post(f"{self._url}/hook", data=b'[{"msys":{}}]', headers=headers) as answer:
            assert answer.status == 200

    async def receipts(self) -> dict[str, int]:
        """What was counted, without what is zero."""
        async with self._client.get(f"{self._url}/receipts") as answer:
            return {name: count for name, count in (await answer.json()).items() if count}


@pytest.fixture
async def customer() -> AsyncIterator[Customer]:
    """One who listens."""
    [port] = free_ports(1)
    stop = asyncio.Event()
    serving = asyncio.create_task(serve_http(customer_app(), setting="PORT", host="127.0.0.1", port=port, stop=stop))
    await asyncio.sleep(0)  # it listens before it serves
    async with aiohttp.ClientSession() as client:
        yield Customer(client, port)
    stop.set()
    await serving


async def test_batches_and_events_are_counted(customer: Customer) -> None:
    """And the largest batch."""
    await customer.get("1", "a", "b", "c")
    await customer.get("2", "d")
    assert await customer.receipts() == {"batches": 2, "events": 4, "largest": 3}


async def test_the_same_batch_again_is_a_repeat(customer: Customer) -> None:
    """As promised where nobody can know whether it arrived: the same id and bytes. It counts nothing twice."""
    await customer.get("1", "a", "b")
    await customer.get("1", "a", "b")
    assert await customer.receipts() == {"batches": 1, "events": 2, "largest": 2, "repeats": 1}


async def test_new_bytes_under_an_old_id_are_noticed(customer: Customer) -> None:
    """A broken promise, even where the events are the same."""
    await customer.get("1", "a", "b")
    await customer.get("1", "b", "a")
    assert await customer.receipts() == {"batches": 1, "events": 2, "largest": 2, "repeats": 1, "changed": 1}


async def test_an_event_in_two_batches_is_noticed(customer: Customer) -> None:
    """A broken promise; also twice in one batch."""
    await customer.get("1", "a", "b")
    await customer.get("2", "b", "c")
    await customer.get("3", "d", "d")
    assert await customer.receipts() == {"batches": 3, "events": 6, "largest": 2, "doubled": 2}


async def test_the_test_of_a_new_target_counts_as_nothing(customer: Customer) -> None:
    """It holds no event, however often it comes."""
    for batch_id in ("1", "1", "2"):
        await customer.probe(batch_id)
    assert await customer.receipts() == {}
