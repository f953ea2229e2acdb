"""The customer, with a temper. `python -m tests.chaos.receiver HOST PORT FILE`; what it took is in the file before it answers.

A line for each request, so that a killed one knows after its restart, and the judge in the end, what had an effect.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from pathlib import Path

import msgspec
import uvloop
from aiohttp import web

from omni_etl.embedded.starter import watch_starter

BATCH_ID_HEADER = "X-MessageSystems-Batch-ID"
PROBE = b'[{"msys":{}}]'
HANG_SECONDS = 600.0
SLOW_SECONDS = 2.0
WITH_EFFECT = {"well", "slow", "effect, then error", "effect, then reset"}


class Receipt(msgspec.Struct):
    """One request."""

    batch: str
    digest: str
    taken: bool
    events: list[str]  # ids, of what was taken


class _Identity(msgspec.Struct):
    event_id: str


class _Element(msgspec.Struct):
    msys: dict[str, _Identity]


class Receiver:
    """Answers as `manner` says, which anybody on this machine may change."""

    def __init__(self, path: Path) -> None:
        self.manner = "well"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(self._file, b"\n")  # ends a line that a killed one left open

    async def take(self, request: web.Request) -> web.StreamResponse:
        """One batch."""
        body = await request.read()
        if body == PROBE:
            return web.Response()
        manner = self.manner
        taken = manner in WITH_EFFECT
        events = [each.event_id for element in _decode(body) for each in element.msys.values()] if taken else []
        receipt = Receipt(request.headers[BATCH_ID_HEADER], hashlib.sha256(body).hexdigest(), taken, events)
        os.write(self._file, msgspec.json.encode(receipt) + b"\n")
        if manner == "hangs":
            await asyncio.sleep(HANG_SECONDS)
        if manner == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        if manner in ("resets", "effect, then reset") and request.transport is not None:
            request.transport.abort()
        return web.Response(status=200 if manner in ("well", "slow") else 500)

    async def behave(self, request: web.Request) -> web.StreamResponse:
        """From now on so."""
        self.manner = await request.text()
        return web.Response()


async def serve(host: str, port: int, path: Path) -> None:
    """For ever."""
    receiver = Receiver(path)
    app = web.Application(client_max_size=0)
    app.router.add_post("/hook", receiver.take)
    app.router.add_post("/manner", receiver.behave)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    await asyncio.Event().wait()


_decode = msgspec.json.Decoder(list[_Element]).decode

if __name__ == "__main__":
    watch_starter(0, stop=lambda: os._exit(1))
    uvloop.run(serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
