"""The store host as a process of its own, for tests to use, stop and kill. Run as a script, this file is that process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from omni_etl import telemetry
from omni_etl.embedded.starter import watch_starter
from omni_etl.embedded.store_host import StoreHost

PASSWORD = "a p@ssword/with:all"
STOP_SECONDS_MAX = 20


class StoreProcess:
    """One host on one directory; `start` it again after `kill`."""

    def __init__(self, directory: Path, *, environment: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.environment = dict(environment or {})

    def start(self) -> None:
        """Return when it listens."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.store_process", str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip().removeprefix("http://")
        assert self.address, "the host did not start"

    def url(self, database: str = "omni") -> str:
        """As `OMNI_STORE_URL` has it."""
        return f"http://default:a%20p%40ssword%2Fwith%3Aall@{self.address}/{database}"

    def stop(self) -> int:
        """Ask it to end, and answer its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """As `kill -9`, which leaves no time for anything."""
        self._process.kill()
        self.wait()

    def wait(self) -> int:
        """Wait for its end."""
        code = self._process.wait(STOP_SECONDS_MAX)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        return code

    def let_go(self) -> None:
        """Close the pipe from its starter, as the kernel does when that one is killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def refuses(self) -> bool:
        """Whether it takes no more connections."""
        host, port = self.address.split(":")
        try:
            socket.create_connection((host, int(port))).close()
        except ConnectionRefusedError:
            return True
        return False


@contextlib.contextmanager
def store_process(directory: Path, *, environment: Mapping[str, str] | None = None) -> Iterator[StoreProcess]:
    """A running host, gone afterwards."""
    process = StoreProcess(directory, environment=environment)
    process.start()
    try:
        yield process
    finally:
        process.kill()


async def _main(directory: Path) -> None:
    telemetry.configure_logs("error", "json")
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, asked.set)
    watch_starter(0, stop=lambda: None)
    host = StoreHost(directory, password=PASSWORD)
    sys.stdout.write(await host.start() + "\n")
    sys.stdout.flush()
    await asked.wait()
    await host.stop()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
