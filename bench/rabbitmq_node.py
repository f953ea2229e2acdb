"""A RabbitMQ of our own: one node on loopback with its data, cookie and ports in a directory that is forgotten.

The machine's own service, where there is one, is not touched. Debian's `/usr/sbin/rabbitmq-server` changes to the user
`rabbitmq`; the program behind it runs as we do.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.row import CountsError
from omni_etl.clock import SystemClock
from omni_etl.embedded.ports import free_ports
from omni_etl.embedded.starter import watched

HOST: Final = "127.0.0.1"
DEBIAN: Final = Path("/usr/lib/rabbitmq/lib")
START_SECONDS_MAX: Final = 90.0
STOP_SECONDS_MAX: Final = 30.0
POLL_SECONDS: Final = 0.1

# No heartbeats: our clients write bytes and keep no time. The rest is as it comes.
CONFIGURATION: Final = """
listeners.tcp.local = {host}:{port}
distribution.listener.interface = {host}
distribution.listener.port_range.min = {distribution_port}
distribution.listener.port_range.max = {distribution_port}
heartbeat = 0
log.file = false
log.console = true
log.console.level = warning
"""


@dataclass(frozen=True, slots=True)
class Node:
    """A node that takes connections."""

    port: int
    pid: int  # of its watcher, which `Costs` looks behind


def program() -> Path | None:
    """The server, or None where it is not installed."""
    found = sorted(DEBIAN.glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    return found[-1] if found and shutil.which("erl") and shutil.which("epmd") else None


@asynccontextmanager
async def node(directory: Path) -> AsyncIterator[Node]:
    """Start it, with the port mapper that Erlang wants, and end both."""
    server = program()
    assert server is not None, "ask before"
    port, distribution_port, mapper_port = free_ports(3)
    (directory / "rabbitmq.conf").write_text(
        CONFIGURATION.format(host=HOST, port=port, distribution_port=distribution_port)
    )
    (directory / "enabled_plugins").write_text("[].")
    mapper = {"ERL_EPMD_PORT": str(mapper_port), "ERL_EPMD_ADDRESS": HOST}
    async with AsyncExitStack() as ending:
        # Were it not there, the node would start one that outlives everything.
        await ending.enter_async_context(_started(["epmd"], mapper, directory / "epmd.log"))
        await _until_it_listens(mapper_port)
        environment = {**mapper, **_environment(directory)}
        process = await ending.enter_async_context(_started([str(server)], environment, directory / "server.log"))
        await _until_it_listens(port)
        yield Node(port, process.pid)


def _environment(directory: Path) -> dict[str, str]:
    return {
        "HOME": str(directory),  # the cookie
        "RABBITMQ_NODENAME": f"omni_bench_{os.getpid()}@localhost",
        "RABBITMQ_CONF_ENV_FILE": str(directory / "no-such-file"),
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the server instead of waiting for it
    }


@asynccontextmanager
async def _started(
    command: list[str], environment: Mapping[str, str], log_path: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *watched(command),
            stdin=asyncio.subprocess.PIPE,  # it ends when we do
            stdout=log,
            stderr=log,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS_MAX)
        except TimeoutError:
            process.kill()  # the kernel ends what it watches
            await process.wait()


async def _until_it_listens(port: int) -> None:
    clock = SystemClock()
    until = clock.monotonic() + START_SECONDS_MAX
    while True:
        try:
            socket.create_connection((HOST, port)).close()
        except OSError:
            if clock.monotonic() > until:
                raise CountsError(f"nothing listens at port {port} after {START_SECONDS_MAX:g} s") from None
            await clock.sleep(POLL_SECONDS)
        else:
            return
