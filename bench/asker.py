"""Whoever asks the API at a steady rate. `python -m bench.asker QUESTIONS`, a file that `Questions` describes.

A process of its own, with the words of `bench.sender`: "ready", a line, then `Told`. Each question has its time; one that had to
wait for a free connection took as long as from that time, so that a slow answer does not make the next ones look fast.
"""

from __future__ import annotations

import asyncio
import math
import os
import resource
import sys
from collections import Counter, deque
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
import uvloop

from omni_etl.clock import SystemClock
from omni_etl.embedded.starter import watch_starter

CONNECTIONS: Final = 16
SHARES: Final = (50, 95, 99, 100)
HEAD_END: Final = b"\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
LENGTH: Final = b"\r\ncontent-length:"
STATUS: Final = slice(9, 12)
CLOCK: Final = SystemClock()


class Questions(msgspec.Struct, frozen=True):
    """GETs of one kind, which are asked one after another, again and again."""

    url: str  # of the server
    key: str
    paths: list[str]
    per_second: float
    seconds: float


class Told(msgspec.Struct, frozen=True):
    """What became of it."""

    milliseconds: dict[str, float]  # p50, p95, p99, p100
    statuses: dict[str, int]
    cpu_seconds: float


class Connection(asyncio.Protocol):
    """One question at a time; HTTP/1.1 as far as our API answers it."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._buffer = bytearray()
        self._asked_at = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's has no common base
        self._asker.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's."""
        self._asker.lost(exc)

    def ask(self, request: bytes, at: float) -> None:
        """The time is when the question was due."""
        assert self._transport is not None
        self._asked_at = at
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Asyncio's."""
        self._buffer += data
        end = self._buffer.find(HEAD_END)
        if end < 0:
            return
        start = self._buffer.lower().find(LENGTH, 0, end + 2)
        if start >= 0:
            start += len(LENGTH)
            length = int(self._buffer[start : self._buffer.index(b"\r\n", start)])
            is_whole = len(self._buffer) >= end + len(HEAD_END) + length
        else:
            is_whole = self._buffer.endswith(LAST_CHUNK)
        if is_whole:
            self._asker.told(bytes(self._buffer[STATUS]), self._asked_at)
            self._buffer.clear()
            self._asker.free(self)


class Asker:
    """Asks what is due, on whichever connection is free."""

    def __init__(self, questions: Questions) -> None:
        place = urlsplit(questions.url)
        self._host, self._port = place.hostname or "", place.port or 0
        head = f"Host: {place.netloc}\r\nAuthorization: {questions.key}\r\n\r\n"
        self._requests = [f"GET {path} HTTP/1.1\r\n{head}".encode() for path in questions.paths]
        self._questions = questions
        self._free: deque[Connection] = deque()
        self._due: deque[tuple[bytes, float]] = deque()
        self._count = round(questions.per_second * questions.seconds)
        self._milliseconds: list[float] = []
        self._statuses: Counter[str] = Counter()
        self._ended = asyncio.Event()

    async def open(self) -> None:
        """Connect."""
        for _ in range(CONNECTIONS):
            await asyncio.get_running_loop().create_connection(lambda: Connection(self), self._host, self._port)

    async def run(self) -> Told:
        """Ask everything."""
        started_at = CLOCK.monotonic()
        for number in range(self._count):
            at = started_at + number / self._questions.per_second
            if (wait_seconds := at - CLOCK.monotonic()) > 0:
                await asyncio.sleep(wait_seconds)
            self._due.append((self._requests[number % len(self._requests)], at))
            self._next()
        await self._ended.wait()
        cost = resource.getrusage(resource.RUSAGE_SELF)
        return Told(_percentiles(self._milliseconds), dict(self._statuses), cost.ru_utime + cost.ru_stime)

    def free(self, connection: Connection) -> None:
        """It may ask again."""
        self._free.append(connection)
        self._next()

    def lost(self, error: Exception | None) -> None:
        """A server that closes a connection under questions is not measured."""
        if not self._ended.is_set():
            raise SystemExit(f"the API closed a connection: {error}")

    def told(self, status: bytes, asked_at: float) -> None:
        """An answer is here, whole."""
        self._milliseconds.append((CLOCK.monotonic() - asked_at) * 1000)
        self._statuses[status.decode()] += 1
        if len(self._milliseconds) == self._count:
            self._ended.set()

    def _next(self) -> None:
        while self._due and self._free:
            self._free.popleft().ask(*self._due.popleft())


def _percentiles(milliseconds: list[float]) -> dict[str, float]:
    inorder = sorted(milliseconds)
    return {f"p{share}": inorder[math.ceil(len(inorder) * share / 100) - 1] for share in SHARES}


async def _ask(questions: Questions) -> Told:
    asker = Asker(questions)
    await asker.open()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    watch_starter(sys.stdin.fileno(), stop=lambda: os._exit(1))
    return await asker.run()


if __name__ == "__main__":
    print(
        msgspec.json.encode(
            uvloop.run(_ask(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Questions)))
        ).decode()
    )
