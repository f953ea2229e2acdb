"""backends.http: the guard at the socket, and names that lie."""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from omni_etl.backends.http import AiohttpPoster
from omni_etl.clock import ManualClock
from omni_etl.poster import Answer
from omni_etl.services.webhooks.guard import Guard

LOCALHOST = Path(__file__).with_name("localhost.pem")
LOOPBACK = (ip_network("127.0.0.0/8"),)


class Receiver:
    """Counts connections, and answers 200 to whoever came that far."""

    connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()


@pytest.fixture
async def receiver() -> Receiver:
    """What stands behind the guard."""
    return Receiver()


@pytest.fixture
async def port(receiver: Receiver) -> AsyncIterator[int]:
    """It listens on loopback, IPv4."""
    async with await asyncio.start_server(receiver.serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def poster(*networks: Any) -> AiohttpPoster:
    """A poster under the real guard."""
    guard = Guard(networks)
    return AiohttpPoster(refusal=guard.refusal, timeout_seconds=2.0, connections_max=4, clock=ManualClock())


async def post(under_test: AiohttpPoster, target: str) -> Answer:
    """One attempt, with a session of its own."""
    await under_test.open()
    try:
        return await under_test.post(target, b"[]", {})
    finally:
        await under_test.close()


# Every way in which 127.0.0.1 has been spelled to get past a filter.
SPELLINGS = [
    "127.0.0.1", "localhost", "localhost.", "LOCALHOST", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
    "2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "017700000001", "0", "0.0.0.0", "[::]", "127.0.0.1.",
    "127。0。0。1", "①②⑦.0.0.1", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1%25lo]", "[::1%25lo]", "[::ffff:127.0.0.1%25lo]",
    "127.000.000.001", "0x7f.0x0.0x0.0x1", "0177.0.0.01", "127.0.1", "127.0.0.1%00.example.com", "user@127.0.0.1", "1.1.1.1@127.0.0.1",
    "1.1.1.1%40127.0.0.1", "127.0.0.1\\@1.1.1.1", "[::7f00:1]", "[0:0:0:0:0:ffff:7f00:1]", "[64:ff9b:1::7f00:1]",
    "[2001:0:7f00:1::80ff:fffe]", "localhost%2e", "localhost%00",
]  # fmt: skip


@pytest.mark.parametrize("host", SPELLINGS)
async def test_loopback_is_out_of_reach_however_spelled(receiver: Receiver, port: int, host: str) -> None:
    """No spelling of an inner address gets a connection."""
    answer = await post(poster(), f"http://{host}:{port}/")
    assert answer.status is None
    assert answer.reason.partition(":")[0] in {"refused", "target", "dns", "connection"}
    assert receiver.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_an_allowed_network_is_reached(receiver: Receiver, port: int, host: str) -> None:
    """What the operator opened is open, by name and by number."""
    assert await post(poster(*LOOPBACK), f"http://{host}:{port}/") == Answer(200, "200")
    assert receiver.connections == 1


# The address behind which most clouds keep keys, in as many ways; nothing listens there in a test, so the words must say it.
METADATA = [
    "169.254.169.254", "169.254.169.254.", "2852039166", "0xa9fea9fe", "0xa9.0xfe.0xa9.0xfe", "0251.0376.0251.0376", "025177524776",
    "169.254.43518", "169.16689662", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[::a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]", "[fd00:ec2::254]", "[fd20:ce::254]", "[fe80::a9fe:a9fe%25lo]", "100.100.100.200", "192.0.0.192", "168.63.129.16",
]  # fmt: skip


@pytest.mark.parametrize("host", METADATA)
async def test_metadata_is_refused_however_spelled(host: str) -> None:
    """By the guard, before a packet leaves: never "connect", which would say that it was tried."""
    answer = await post(poster(), f"http://{host}/latest/meta-data/")
    assert answer.status is None
    assert re.fullmatch("refused: .* is not a public address|target: .* is not a canonical IPv4 address", answer.reason)


async def test_a_port_of_no_web_server_is_refused() -> None:
    """Of a public address too; it is told without the address."""
    assert await post(poster(), "http://1.1.1.1:6379/") == Answer(None, "refused: port 6379 is not open to webhooks")


class LyingResolver(AbstractResolver):
    """A name server that the customer runs: each question may have another answer."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = iter(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The next answer."""
        return [
            ResolveResult(
                hostname=host, host=each, port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
            )
            for each in next(self._answers)
        ]

    async def close(self) -> None:
        """Nothing to close."""


async def test_a_name_that_changes_its_mind_gains_nothing(receiver: Receiver, port: int) -> None:
    """DNS rebinding: public when it is tested, inner when it is used, or both at once; the address connected to is judged."""
    resolver = LyingResolver(["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2", "169.254.169.254"], ["127.0.0.2", "127.0.0.1"])
    guard = Guard((ip_network("127.0.0.1/32"),))
    under_test = AiohttpPoster(
        refusal=guard.refusal, timeout_seconds=2.0, connections_max=4, clock=ManualClock(), resolver=resolver
    )
    await under_test.open()
    answers = []
    for _ in range(4):
        answers.append(await under_test.post(f"http://hook.example.com:{port}/", b"[]", {}))
        assert under_test._session is not None
        under_test._session.connector.clear_dns_cache()  # type: ignore[union-attr]  # ten seconds later
    await under_test.close()
    assert [each.status for each in answers] == [200, None, None, 200]
    assert answers[1].reason == "refused: 127.0.0.2 is not a public address"
    assert answers[2].reason.startswith("refused: ")
    assert receiver.connections == 2


async def test_each_connection_is_judged_anew(receiver: Receiver, port: int) -> None:
    """A name that changes its mind (DNS rebinding) gains nothing: the guard sees the address of each connection."""
    verdicts = iter((None, "not again"))
    judged: list[IPv4Address | IPv6Address] = []

    def guard(address: IPv4Address | IPv6Address, at_port: int) -> str | None:
        assert at_port == port
        judged.append(address)
        return next(verdicts)

    under_test = AiohttpPoster(refusal=guard, timeout_seconds=2.0, connections_max=4, clock=ManualClock())
    await under_test.open()
    first = await under_test.post(f"http://127.0.0.1:{port}/", b"[]", {})
    second = await under_test.post(f"http://127.0.0.1:{port}/", b"[]", {})
    await under_test.close()
    assert first.ok
    assert second == Answer(None, "refused: not again")
    assert judged == [IPv4Address("127.0.0.1")] * 2
    assert receiver.connections == 1


async def test_proxy_variables_are_not_heeded(monkeypatch: pytest.MonkeyPatch, receiver: Receiver, port: int) -> None:
    """A proxy would connect where the guard cannot see."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert (await post(poster(*LOOPBACK), f"http://127.0.0.1:{port}/")).ok


async def test_a_name_that_does_not_exist(port: int) -> None:
    """Has its own word."""
    answer = await post(poster(*LOOPBACK), f"http://nobody.invalid:{port}/")
    assert answer.status is None
    assert answer.reason.startswith("dns: ")


async def test_a_certificate_is_verified(receiver: Receiver) -> None:
    """A self-signed one ends the attempt before a byte of the batch is sent."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(LOCALHOST)
    async with await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=context) as server:
        answer = await post(poster(*LOOPBACK), f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert answer.status is None
    assert answer.reason.startswith("tls: ")
    assert receiver.connections == 0
