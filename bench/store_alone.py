"""The store host with nothing else of the system: `omni store` on a directory of its own."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.row import CountsError
from omni_etl import settings as settings_module
from omni_etl.clock import SystemClock
from omni_etl.embedded.ports import free_ports
from omni_etl.embedded.up import answers
from omni_etl.settings import Settings
from omni_etl.wiring.opened import opened
from omni_etl.wiring.stores import build_store

START_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class StoreAlone:
    """A host that serves, its tables made."""

    settings: Settings
    pid: int

    @property
    def url(self) -> str:
        """With its password."""
        return self.settings.store_url.get_secret_value()


@asynccontextmanager
async def store_alone(directory: Path) -> AsyncIterator[StoreAlone]:
    """Start it with every setting at its default, so with every fsync; end it afterwards."""
    [port] = free_ports(1)
    url = f"http://default:{secrets.token_urlsafe(24)}@127.0.0.1:{port}/default"
    settings = settings_module.load(data_dir=directory, store_url=url, store_port=port, log_level="warning")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "omni_etl", "store", "--watch-stdin"),
        stdin=asyncio.subprocess.PIPE,
        env={**os.environ, **settings_module.environment(settings)},
        start_new_session=True,  # Ctrl-C comes to us, and we end it
    )
    try:
        await _until_it_answers(process, f"http://127.0.0.1:{port}/ping")
        async with opened(build_store(settings)):  # whoever comes first makes the tables
            yield StoreAlone(settings, process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _until_it_answers(process: asyncio.subprocess.Process, url: str) -> None:
    clock = SystemClock()
    until = clock.monotonic() + START_SECONDS_MAX
    while not await answers(url):
        if process.returncode is not None or clock.monotonic() > until:
            raise CountsError("the store host did not start")
        await clock.sleep(POLL_SECONDS)
