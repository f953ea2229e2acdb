"""A hose over real HTTP on loopback, in a thread of its own, for clients that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from tests.hose.fake_queue import FakeQueue
from tests.hose.hoses import LIMITS, make_hose

from omni_etl.hose import EventHose, HoseLimits, intake_app


@dataclass(frozen=True, slots=True)
class Served:
    """Where it listens, and where its events go."""

    url: str
    port: int
    queue: FakeQueue
    hose: EventHose


@contextmanager
def served(directory: Path, *, limits: HoseLimits = LIMITS) -> Iterator[Served]:
    """Start, and stop in order; after that everything is in the queue."""
    queue = FakeQueue()
    hose = make_hose(directory, queue, limits=limits)
    config = uvicorn.Config(intake_app(hose), port=0, http="httptools", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    ready = threading.Event()
    ports: list[int] = []

    async def _serve() -> None:
        await hose.start()
        sockets = [config.bind_socket()]
        sockets[0].listen()  # from here on a client finds us, if only in the backlog
        ports.append(sockets[0].getsockname()[1])
        serving = asyncio.create_task(server.serve(sockets))
        ready.set()
        await serving
        await hose.stop(10)

    thread = threading.Thread(target=asyncio.run, args=(_serve(),))
    thread.start()
    assert ready.wait(30)
    try:
        yield Served(f"http://127.0.0.1:{ports[0]}", ports[0], queue, hose)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
