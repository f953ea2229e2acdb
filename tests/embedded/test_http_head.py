"""embedded.http_head: a request line and headers have a limit, whoever sends them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import repeat

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_etl.embedded.http_head import HEAD_BYTES_MAX, BoundedHead

CHUNK = b"x" * 65_536


async def _length(request: Request) -> Response:
    return Response(str(len(await request.body())))


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    """A server on a free port that answers how long a body was."""
    app = Starlette(routes=[Route("/", _length, methods=["GET", "POST"])])
    server = uvicorn.Server(uvicorn.Config(app, http=BoundedHead, port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


async def answered(port: int, beginning: bytes, chunks: int, end: bytes) -> tuple[bytes, int]:
    """The first line of the answer, and how many chunks were taken."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(beginning)
    taken = 0
    with suppress(ConnectionError):
        for chunk in repeat(CHUNK, chunks):
            writer.write(chunk)
            await writer.drain()
            if reader.at_eof():
                break
            taken += 1
        writer.write(end)
        await writer.drain()
    line = b""
    with suppress(ConnectionError):  # reset, because what we sent beyond was not read
        line = await reader.readline()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return line, taken


@pytest.mark.parametrize(
    "beginning",
    [b"GET / HTTP/1.1\r\nX-A: ", b"GET /", b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nX"],
    ids=["value", "url", "name", "late name"],
)
async def test_a_head_without_an_end_is_refused(beginning: bytes) -> None:
    """64 MiB of it are not waited for, in a value, a URL or a name."""
    async with served() as port:
        line, taken = await answered(port, beginning, 1_000, b"")
    assert taken < 900
    assert line in {b"HTTP/1.1 431 Request Header Fields Too Large\r\n", b"HTTP/1.1 400 Bad Request\r\n", b""}


async def test_heads_within_the_limit_and_long_bodies_pass() -> None:
    """Also a body many times as long, and another request behind it."""
    async with served() as port:
        ask = b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"x" * (HEAD_BYTES_MAX // 2) + b"\r\n\r\n"
        assert (await answered(port, ask, 0, b""))[0] == b"HTTP/1.1 200 OK\r\n"
        post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (40 * len(CHUNK))
        assert await answered(port, post, 40, ask) == (b"HTTP/1.1 200 OK\r\n", 40)
