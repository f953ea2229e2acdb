"""A customer's server on loopback with every bad manner there is, one for each path; what it took is remembered."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

PROBE = b'[{"msys":{}}]'
ANSWER = "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n"
HUGE_BYTES = 10 * 1024 * 1024


@dataclass
class Taken:
    """What one path took with a 2xx, and what it saw."""

    requests: int = 0
    events: Counter[str] = field(default_factory=Counter)  # event id → batches it came in
    digests: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))  # of every request, by batch id
    seen: Counter[str] = field(default_factory=Counter)  # batch id → requests
    largest: int = 0
    at_once: int = 0
    at_once_max: int = 0


class Hostile:
    """`manners` may be changed while it runs: whoever is healed takes everything."""

    def __init__(self) -> None:
        self.taken: dict[str, Taken] = defaultdict(Taken)
        self.healed: set[str] = set()
        self.port = 0
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._connections: set[asyncio.Task[Any]] = set()

    def target(self, manner: str) -> str:
        """Where batches go that are to meet this manner."""
        return f"http://127.0.0.1:{self.port}/{manner}"

    def heal(self, *manners: str) -> None:
        """From now on these take everything."""
        self.healed.update(manners)

    def run(self) -> None:
        """Serve, in a thread of its own."""
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    def stop(self) -> None:
        """End `run`."""
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)

    def wait_until_ready(self) -> None:
        """It listens."""
        assert self._ready.wait(10)

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._request(reader, writer):
                    pass
        finally:
            self._connections.discard(task)
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(each.lower().split(": ", 1) for each in head[1:] if ": " in each)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        manner = head[0].split(" ")[1].strip("/")
        if body == PROBE:
            await say(writer)
            return True
        taken = self.taken[manner]
        batch_id = headers["x-messagesystems-batch-id"]
        taken.requests += 1
        taken.seen[batch_id] += 1
        taken.digests[batch_id].add(hashlib.sha256(body).digest())
        taken.at_once += 1
        taken.at_once_max = max(taken.at_once_max, taken.at_once)
        try:
            behave = MANNERS.get(manner.rstrip("0123456789"), well)
            return await (well if manner in self.healed else behave)(writer, body, taken)
        finally:
            taken.at_once -= 1


@contextmanager
def hostile() -> Iterator[Hostile]:
    """Start it, and end it."""
    server = Hostile()
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    server.wait_until_ready()
    yield server
    server.stop()
    thread.join(10)


async def say(writer: asyncio.StreamWriter, status: str = "200 OK", headers: str = "", body: bytes = b"") -> None:
    """One whole answer."""
    writer.write(ANSWER.format(status=status, length=len(body), headers=headers).encode() + body)
    await writer.drain()


async def well(writer: asyncio.StreamWriter, body: bytes, taken: Taken) -> bool:
    """Take it."""
    ids = [event["event_id"] for element in json.loads(body) for event in element["msys"].values()]
    taken.events.update(ids)
    taken.largest = max(taken.largest, len(ids))
    await say(writer)
    return True


async def hang(_writer: asyncio.StreamWriter, _body: bytes, _taken: Taken) -> bool:
    """Never answer."""
    await asyncio.sleep(3600)
    return False


async def drip(writer: asyncio.StreamWriter, _body: bytes, _taken: Taken) -> bool:
    """A good status at once, and then a byte of the body now and then."""
    writer.write(ANSWER.format(status="200 OK", length=1_000_000, headers="").encode())
    while True:
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.1)


async def reset(writer: asyncio.StreamWriter, _body: bytes, _taken: Taken) -> bool:
    """Cut the connection with the answer half said; who serves it aborts it."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await writer.drain()
    return False


async def short(writer: asyncio.StreamWriter, _body: bytes, _taken: Taken) -> bool:
    """Promise more body than comes."""
    writer.write(ANSWER.format(status="200 OK", length=1000, headers="Connection: close\r\n").encode() + b"only this")
    await writer.drain()
    return False


async def huge(writer: asyncio.StreamWriter, body: bytes, taken: Taken) -> bool:
    """Take it, and talk far too much."""
    ids = [event["event_id"] for element in json.loads(body) for event in element["msys"].values()]
    taken.events.update(ids)
    with suppress(ConnectionError):
        await say(writer, body=bytes(HUGE_BYTES))
    return False


async def redirect(writer: asyncio.StreamWriter, _body: bytes, _taken: Taken) -> bool:
    """Send it to where secrets lie."""
    await say(writer, "307 Temporary Redirect", "Location: http://169.254.169.254/latest/meta-data/\r\n")
    return True


async def busy_seconds(writer: asyncio.StreamWriter, body: bytes, taken: Taken) -> bool:
    """Too many requests, come back in a second; the same batch is taken at the second time."""
    return await _busy(writer, body, taken, "1")


async def busy_date(writer: asyncio.StreamWriter, body: bytes, taken: Taken) -> bool:
    """The same with a date."""
    return await _busy(writer, body, taken, formatdate(usegmt=True))


async def _busy(writer: asyncio.StreamWriter, body: bytes, taken: Taken, when: str) -> bool:
    if taken.requests % 2:
        await say(writer, "429 Too Many Requests", f"Retry-After: {when}\r\n")
        return True
    return await well(writer, body, taken)


async def flapping(writer: asyncio.StreamWriter, body: bytes, taken: Taken) -> bool:
    """Every third answer is a good one."""
    if taken.requests % 3:
        await say(writer, "503 Service Unavailable")
        return True
    return await well(writer, body, taken)


async def gone(writer: asyncio.StreamWriter, _body: bytes, _taken: Taken) -> bool:
    """Never again."""
    await say(writer, "410 Gone")
    return True


Manner = Callable[[asyncio.StreamWriter, bytes, Taken], Coroutine[Any, Any, bool]]
MANNERS: dict[str, Manner] = {
    "hang": hang,
    "drip": drip,
    "reset": reset,
    "short": short,
    "huge": huge,
    "redirect": redirect,
    "busy-seconds": busy_seconds,
    "busy-date": busy_date,
    "flapping": flapping,
    "gone": gone,
}
