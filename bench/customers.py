"""Many customers in one process: `/hang/…` never answers, the others take everything. `python -m bench.customers PORT`.

Each event carries the time at which it was sent, on the clock that all processes of a machine share, so that the way of each
can be timed where it ends.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import sys
from typing import Final, cast

import uvloop

from bench.receiver import BATCH_ID, ELEMENT, HEAD_END, LENGTH, OK, header
from omni_etl.clock import SystemClock
from omni_etl.embedded.starter import watch_starter

SENT_AT: Final = re.compile(rb'"subject":"sent ([0-9.]+)"')
CLOCK: Final = SystemClock()


class Figures:
    """What came since the last look."""

    def __init__(self) -> None:
        self.batches = self.events = self.hanging = self.repeats = 0
        self.milliseconds: list[float] = []
        self._known: set[bytes] = set()

    def take(self, batch_id: bytes, body: bytes) -> None:
        """One batch; a repetition changes nothing."""
        if batch_id in self._known:
            self.repeats += 1
            return
        self._known.add(batch_id)
        now = CLOCK.monotonic()
        self.batches += 1
        self.events += body.count(ELEMENT)
        self.milliseconds += [(now - float(at)) * 1000 for at in SENT_AT.findall(body)]

    def taken(self) -> bytes:
        """As JSON; then they begin anew."""
        ordered = sorted(self.milliseconds)
        shares = (
            {f"p{share}": ordered[math.ceil(len(ordered) * share / 100) - 1] for share in (50, 99)} if ordered else {}
        )
        said = {"batches": self.batches, "events": self.events, "repeats": self.repeats, "hanging": self.hanging}
        self.batches = self.events = self.repeats = self.hanging = 0
        self.milliseconds = []
        return json.dumps({**said, "ms": shares}).encode()


class Connection(asyncio.Protocol):
    """As the receiver's: HTTP/1.1 with Content-Length, one request at a time."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._buffer = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's has no such base

    def data_received(self, data: bytes) -> None:
        """Asyncio's."""
        assert self._transport is not None
        self._buffer += data
        end = self._buffer.find(HEAD_END)
        if end < 0:
            return
        head = bytes(self._buffer[: end + 2])
        start = end + len(HEAD_END)
        needed = start + int(header(head, LENGTH) or 0)
        if len(self._buffer) < needed:
            return
        body = bytes(self._buffer[start:needed])
        del self._buffer[:needed]
        if head.startswith(b"GET"):
            said = self._figures.taken()
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said))
        elif head.startswith(b"POST /hang") and ELEMENT in body:
            self._figures.hanging += 1
        else:
            if ELEMENT in body:
                self._figures.take(header(head, BATCH_ID), body)
            self._transport.write(OK)


async def serve(port: int) -> None:
    """For ever."""
    figures = Figures()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(figures), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    watch_starter(sys.stdin.fileno(), stop=lambda: os._exit(1))
    uvloop.run(serve(int(sys.argv[1])))
