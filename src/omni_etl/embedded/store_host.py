"""Store host: ClickHouse's HTTP interface for one chDB data directory, so that several processes can use it.

chDB allows one process per directory and we have many. Clients speak to the host as to a ClickHouse server.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uvicorn

from omni_etl import telemetry
from omni_etl.embedded.http_head import BoundedHead
from omni_etl.embedded.store_app import StoreLimits, store_app
from omni_etl.embedded.store_engine import Engine

KEEP_ALIVE_SECONDS: Final = 75  # longer than our clients keep an idle connection, so that none writes into a closed one
LISTEN_BACKLOG: Final = 1024


class StoreHost:
    """The host of one data directory. `start` and `stop` it once each, in one event loop.

    Whoever knows the password may read every file that this process may read (SQL has `file()`): never serve without one
    on a machine with other users, and only on loopback.
    """

    def __init__(
        self,
        directory: Path,
        *,
        password: str,
        host: str = "127.0.0.1",
        port: int = 0,
        limits: StoreLimits | None = None,
    ) -> None:
        limits = limits or StoreLimits()
        self._engine = Engine(directory, limits.threads)
        self._app = store_app(self._engine, password=password, limits=limits)
        self._address = (host, port)
        self._log = telemetry.get_logger(directory=str(directory))

    async def start(self) -> str:
        """Open the directory and listen; answers the URL, without credentials.

        Raises:
            SettingsError: another process holds the directory.

        """
        await asyncio.to_thread(self._engine.open)
        listening = socket.create_server(self._address, backlog=LISTEN_BACKLOG)
        # asyncio leaves Nagle on for a socket made like this; answers would then wait 40 ms for the client's ACK.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(
            self._app,
            http=BoundedHead,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve([listening]))
        await self._server.listens.wait()
        address, port = listening.getsockname()[:2]
        url = f"http://{address}:{port}"
        self._log.info("store_started", url=url)
        return url

    async def stop(self) -> None:
        """Take no more, finish running statements, close the engine."""
        self._server.should_exit = True
        await self._serving
        await asyncio.to_thread(self._engine.close)
        self._log.info("store_stopped")


class _Server(uvicorn.Server):
    """Signals belong to the process that runs the host, and `listens` says when it does."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
