"""The customer: takes webhook batches as cheaply as can be and counts them. `python -m bench.receiver PORT`.

Batches count once by their id, events by what opens each of them. The demo's receiver looks into every event, which costs
a third of a core that here belongs to the system.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Final, cast

import uvloop

from omni_etl.embedded.starter import watch_starter

ELEMENT: Final = b'{"msys":{"'  # inside a string its quotes would be escaped; the probe of a new webhook holds no event
HEAD_END: Final = b"\r\n\r\n"
LENGTH: Final = b"\r\ncontent-length:"
BATCH_ID: Final = b"\r\nx-messagesystems-batch-id:"
OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Receipts:
    """What came so far."""

    def __init__(self) -> None:
        self.batches: set[bytes] = set()
        self.events = 0
        self.repeats = 0

    def take(self, batch_id: bytes, body: bytes) -> None:
        """One batch; a repetition changes nothing."""
        if batch_id in self.batches:
            self.repeats += 1
            return
        self.batches.add(batch_id)
        self.events += body.count(ELEMENT)

    def as_json(self) -> bytes:
        """For whoever asks."""
        return json.dumps({"batches": len(self.batches), "events": self.events, "repeats": self.repeats}).encode()


class Connection(asyncio.Protocol):
    """HTTP/1.1 as far as our poster and a plain GET speak it: Content-Length, keep-alive, one request at a time."""

    def __init__(self, receipts: Receipts) -> None:
        self._receipts = receipts
        self._buffer = bytearray()
        self._needed = 0  # bytes of the request that is coming in, once its head is here
        self._body_start = 0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's has no such base

    def data_received(self, data: bytes) -> None:
        """Asyncio's."""
        self._buffer += data
        if not self._needed:
            end = self._buffer.find(HEAD_END)
            if end < 0:
                return
            head = bytes(self._buffer[: end + 2])
            self._body_start = end + len(HEAD_END)
            self._needed = self._body_start + int(header(head, LENGTH) or 0)
        if len(self._buffer) >= self._needed:
            self._answer()

    def _answer(self) -> None:
        assert self._transport is not None
        request = bytes(self._buffer[: self._needed])
        del self._buffer[: self._needed]
        start, self._needed = self._body_start, 0
        if request.startswith(b"GET"):
            said = self._receipts.as_json()
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said))
            return
        self._receipts.take(header(request[:start], BATCH_ID), request[start:])
        self._transport.write(OK)


def header(head: bytes, name: bytes) -> bytes:
    """Its value, or nothing."""
    start = head.lower().find(name)
    if start < 0:
        return b""
    start += len(name)
    return head[start : head.index(b"\r\n", start)].strip()


async def serve(port: int) -> None:
    """For ever."""
    receipts = Receipts()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(receipts), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    watch_starter(sys.stdin.fileno(), stop=lambda: os._exit(1))
    uvloop.run(serve(int(sys.argv[1])))
