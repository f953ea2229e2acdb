"""The poster's contract: one bounded attempt against servers that behave and servers that do not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import cast

import pytest

from omni_etl.backends.http import AiohttpPoster
from omni_etl.clock import ManualClock, SystemClock
from omni_etl.poster import Answer, Poster

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Start = Callable[[Callable[[Reader, Writer], Awaitable[None]]], Awaitable[str]]

NOW = 784_111_770.0  # seven seconds before RFC 9110's favourite date
TIMEOUT_SECONDS = 0.5


@pytest.fixture(params=["aiohttp"])
async def poster() -> AsyncIterator[Poster]:
    """An open poster that may reach loopback; another kind is one more entry here."""
    opened = AiohttpPoster(
        refusal=lambda *_: None, timeout_seconds=TIMEOUT_SECONDS, connections_max=4, clock=ManualClock(NOW)
    )
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a server that talks as told to each connection; its address."""
    talks: set[asyncio.Task[None]] = set()
    async with AsyncExitStack() as stack:

        async def started(talk: Callable[[Reader, Writer], Awaitable[None]]) -> str:
            async def serve(reader: Reader, writer: Writer) -> None:
                talks.add(cast("asyncio.Task[None]", asyncio.current_task()))
                try:
                    await talk(reader, writer)
                except ConnectionError:
                    pass  # the poster hung up, as it may
                finally:
                    writer.close()

            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            stack.callback(server.close)
            return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?a=b%20c"

        yield started
    if talks:
        await asyncio.wait(talks)  # the poster has hung up, so each of them ends


async def request(reader: Reader) -> tuple[str, dict[str, str], bytes]:
    """Read one request: first line, headers by lower-case name, body."""
    head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    headers = {name.lower(): value for name, _, value in (text.partition(": ") for text in lines if text)}
    return head, headers, await reader.readexactly(int(headers["content-length"]))


def answering(*parts: bytes) -> Callable[[Reader, Writer], Awaitable[None]]:
    """A server that reads a request, writes this and hangs up."""

    async def talk(reader: Reader, writer: Writer) -> None:
        await request(reader)
        writer.writelines(parts)
        await writer.drain()

    return talk


async def test_the_body_arrives_as_it_is(poster: Poster, start: Start) -> None:
    """Bytes and headers as given, nothing added that invites trouble: no encoding, no cookies."""
    seen: list[tuple[str, dict[str, str], bytes]] = []

    async def talk(reader: Reader, writer: Writer) -> None:
        seen.append(await request(reader))
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nSet-Cookie: a=b\r\nConnection: close\r\n\r\n")

    target = await start(talk)
    body = b'[{"msys":{}}]' + bytes(range(256)) * 8000
    headers = {"Content-Type": "application/json", "User-Agent": "SparkPost", "X-One": "\u00fc"}
    for _ in range(2):
        answer = await poster.post(target, body, headers)
        assert (answer, answer.ok) == (Answer(202, "202"), True)
    for head, sent, received in seen:
        assert head == "POST /hook?a=b%20c HTTP/1.1"
        assert received == body
        assert sent.keys() == {"host", "content-type", "user-agent", "x-one", "content-length"}
        assert (sent["content-type"], sent["user-agent"]) == ("application/json", "SparkPost")


async def test_the_answer_comes_with_its_headers_and_body(poster: Poster, start: Start) -> None:
    """As they were sent, of any bytes; header names in any case. Where there is no answer, there are none."""
    head = b"HTTP/1.1 418 Tea\r\nX-One: 1\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n"
    answer = await poster.post(await start(answering(head, b"\x1f\x8b\x00\xff")), b"[]", {})
    assert (answer.status, answer.body, answer.headers["x-one"]) == (418, b"\x1f\x8b\x00\xff", "1")
    answer = await poster.post(await start(answering()), b"[]", {})
    assert (answer.status, answer.body, dict(answer.headers)) == (None, b"", {})


async def test_a_connection_serves_again(poster: Poster, start: Start) -> None:
    """Keep-alive: a small answer is read to its end, so that the next post needs no new connection."""
    connections = 0

    async def talk(reader: Reader, writer: Writer) -> None:
        nonlocal connections
        connections += 1
        while True:
            try:
                await request(reader)
            except asyncio.IncompleteReadError:
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000)

    target = await start(talk)
    for _ in range(5):
        assert (await poster.post(target, b"[]", {})).ok
    assert connections == 1


async def test_failure_then_success(poster: Poster, start: Start) -> None:
    """Each attempt stands for itself."""
    statuses = iter((b"500 Oh", b"200 OK"))

    async def talk(reader: Reader, writer: Writer) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok" % next(statuses))

    target = await start(talk)
    assert await poster.post(target, b"[]", {}) == Answer(500, "500")
    assert (await poster.post(target, b"[]", {})).ok


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(poster: Poster, start: Start, status: int) -> None:
    """A redirect is an answer like any other, and a failure."""
    followed = False

    async def inner(reader: Reader, writer: Writer) -> None:
        nonlocal followed
        followed = True

    location = (await start(inner)).encode()
    target = await start(
        answering(b"HTTP/1.1 %d Away\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (status, location))
    )
    answer = await poster.post(target, b"[]", {})
    assert (answer.status, answer.ok, followed) == (status, False, False)


async def hang(reader: Reader, writer: Writer) -> None:
    """Take the request and say nothing."""
    await request(reader)
    await reader.read()


async def drip_head(reader: Reader, writer: Writer) -> None:
    """A header byte now and then, for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    await drip(reader, writer)


async def drip_body(reader: Reader, writer: Writer) -> None:
    """An answer that never ends, a byte now and then."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
    await drip(reader, writer)


async def drip(reader: Reader, writer: Writer) -> None:
    """Write until the other side hangs up."""
    while not reader.at_eof():
        writer.write(b"x")
        await writer.drain()
        await SystemClock().sleep(0.02)


async def interim(reader: Reader, writer: Writer) -> None:
    """Interim answers for ever."""
    while not reader.at_eof():
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await SystemClock().sleep(0.02)


@pytest.mark.parametrize("talk", [hang, drip_head, drip_body, interim])
async def test_an_attempt_ends_in_time(
    poster: Poster, start: Start, talk: Callable[[Reader, Writer], Awaitable[None]]
) -> None:
    """The limit is on the whole attempt and not on the pause between two bytes; half an answer is none."""
    target = await start(talk)
    began = SystemClock().monotonic()
    assert await poster.post(target, b"[]", {}) == Answer(None, "timeout after 0.5 s")
    assert SystemClock().monotonic() - began < TIMEOUT_SECONDS + 0.5


async def test_a_huge_answer_is_not_read(poster: Poster, start: Start) -> None:
    """Its status counts; the connection is closed long before 10 MB came."""
    written = 0

    async def talk(reader: Reader, writer: Writer) -> None:
        nonlocal written
        await request(reader)
        writer.transport.set_write_buffer_limits(high=0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            written += 65_536

    answer = await poster.post(await start(talk), b"[]", {})
    assert answer == Answer(200, "200")
    assert 64 * 1024 < len(answer.body) < 1024 * 1024
    assert written < 10_000_000


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",),
        (b"SSH-2.0-OpenSSH\r\n\r\n",),
        (b"HTTP/1.1 2xx OK\r\n\r\n",),
    ],
)
async def test_nonsense_is_a_failed_attempt(poster: Poster, start: Start, parts: tuple[bytes, ...]) -> None:
    """Whatever a customer's server says, the poster answers with one line and never raises."""
    answer = await poster.post(await start(answering(*parts)), b"[]", {})
    assert answer.status is None
    assert answer.reason.startswith("connection: ")
    assert "\n" not in answer.reason
    assert len(answer.reason) <= 200


async def test_nobody_there_is_a_failed_attempt(poster: Poster) -> None:
    """A refused connection has its own word."""
    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    answer = await poster.post(f"http://127.0.0.1:{port}/", b"[]", {})
    assert answer.status is None
    assert answer.reason.startswith("connect: ")


@pytest.mark.parametrize("target", ["", "x", "/hook", "ftp://h/", "file:///etc/passwd", "http://", "http://[", "http://h:x/",
                                    "http://u:hunter2@127.0.0.1/", "http://hunter2@127.0.0.1/", "http://a..b/", "http://h:0/"])  # fmt: skip
async def test_an_address_that_cannot_be_is_a_failed_attempt(poster: Poster, target: str) -> None:
    """Only http and https, no user names; the reason repeats no secret."""
    answer = await poster.post(target, b"[]", {})
    assert answer.status is None
    assert "hunter2" not in answer.reason


async def test_no_user_name_is_sent(poster: Poster, start: Start) -> None:
    """Credentials in an address would be shown wherever the address is; the webhook's own secret is the way."""
    target = await start(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    answer = await poster.post(target.replace("://", "://user:hunter2@"), b"[]", {})
    assert answer == Answer(None, "target: the target holds a user name")


async def test_a_header_that_breaks_the_request_is_a_failed_attempt(poster: Poster, start: Start) -> None:
    """A line end in a custom header starts no second header."""
    answer = await poster.post(await start(hang), b"[]", {"X-One": "a\r\nX-Two: b"})
    assert answer.status is None
    assert answer.reason.startswith("target: ")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 7.0),
        ("Sun, 06 Nov 1993 08:49:37 GMT", 0.0),
        ("99999999999999999999999999", 9_999_999_999.0),
        ("-5", None),
        ("soon", None),
        ("1.5", None),
    ],
)
async def test_retry_after_is_read_in_both_forms(
    poster: Poster, start: Start, text: str, seconds: float | None
) -> None:
    """Seconds or a date (RFC 9110 10.2.3); nonsense is as if it were absent."""
    target = await start(
        answering(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: %b\r\n\r\n" % text.encode())
    )
    assert await poster.post(target, b"[]", {}) == Answer(503, "503", seconds)
