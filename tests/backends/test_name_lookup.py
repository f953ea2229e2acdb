"""backends.name_lookup: names that are never answered hold up nobody whose names are."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest

from omni_etl.backends.http import AiohttpPoster
from omni_etl.backends.name_lookup import ThreadedNames
from omni_etl.clock import ManualClock
from omni_etl.services.webhooks.guard import Guard

HANGING = 60  # more than any loop has threads for names


@pytest.fixture
def name_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The system's lookup: `hang…` is never answered, `none…` does not exist, all others are loopback; what was asked."""
    asked: list[str] = []
    over = threading.Event()

    def look_up(host: str, port: int, *_: Any) -> list[Any]:
        asked.append(host)
        if host.startswith("hang"):
            over.wait(20)
        if not host.startswith("well"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield asked
    over.set()


async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A customer's server that takes everything."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    writer.close()


async def test_names_that_hang_cost_the_others_nothing(name_servers: list[str]) -> None:
    """Sixty customers' name servers are silent, and the one who is well is posted to as ever."""
    guard = Guard((ip_network("127.0.0.0/8"),))
    poster = AiohttpPoster(refusal=guard.refusal, timeout_seconds=5.0, connections_max=256, clock=ManualClock())
    await poster.open()
    async with await asyncio.start_server(answered, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        hanging = [
            asyncio.create_task(poster.post(f"http://hang{number}.test:{port}/", b"[]", {}))
            for number in range(HANGING)
        ]
        await until(lambda: len(name_servers) >= 2)
        answer = await asyncio.wait_for(poster.post(f"http://well.test:{port}/", b"[]", {}), 2)
        assert answer.ok, answer
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        await poster.close()


async def test_names_that_were_answered_have_threads_of_their_own(name_servers: list[str]) -> None:
    """However many new ones hang; a name that fails is a new one again, and one asks again when threads are free."""
    names = ThreadedNames(threads_max=4, clock=ManualClock())
    assert (await names.resolve("well.test", 80))[0]["host"] == "127.0.0.1"
    hanging = [asyncio.create_task(names.resolve(f"hang{number}.test", 80)) for number in range(10)]
    await until(lambda: len(name_servers) == 3)
    assert (await asyncio.wait_for(names.resolve("well.test", 443), 2))[0]["port"] == 443
    waiting = asyncio.create_task(names.resolve("well-too.test", 80))
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not done
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    assert len(name_servers) == 4  # who no longer waits for a turn asks nobody
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_a_name_that_does_not_exist_is_an_error(name_servers: list[str]) -> None:
    """As the system says it, each time anew."""
    names = ThreadedNames(threads_max=2, clock=ManualClock())
    for _ in range(5):
        with pytest.raises(socket.gaierror):
            await names.resolve("none.test", 80)
    assert name_servers == ["none.test"] * 5


async def until(holds: Any) -> None:
    """Threads take a moment."""
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.001)
