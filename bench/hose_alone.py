"""The hose with nothing else of the system: `omni hose` on a directory of its own, and a SQLite queue that nobody empties."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.processes import Helper
from bench.row import CountsError
from bench.sender import Sent
from omni_etl import settings as settings_module
from omni_etl.clock import SystemClock
from omni_etl.embedded.ports import free_ports
from omni_etl.embedded.up import answers
from omni_etl.queue import PAYLOAD_ATTRIBUTE, PAYLOAD_TYPE

START_SECONDS_MAX: Final = 60.0
START_POLL_SECONDS: Final = 0.05
ARRIVED_POLL_SECONDS: Final = 0.5
STALLED_SECONDS: Final = 60.0
STOP_SECONDS_MAX: Final = 30.0
CLOCK: Final = SystemClock()


@dataclass(frozen=True, slots=True)
class HoseAlone:
    """One that serves."""

    url: str
    pid: int
    queue_path: Path

    def events_in_queue(self) -> int:
        """By the headers of the envelopes."""
        with closing(self._connect()) as connection:
            [(count,)] = connection.execute(
                "SELECT coalesce(sum(json_extract(header, '$.event_count')), 0) FROM queue_payloads"
            )
        return int(count)

    def bytes_in_queue(self) -> int:
        """As AWS counts them: header, payload, and the name and type of its attribute."""
        with closing(self._connect()) as connection:
            [(count, sizes)] = connection.execute(
                "SELECT count(*), coalesce(sum(length(CAST(header AS BLOB)) + length(payload)), 0) FROM queue_payloads"
            )
        return int(sizes) + int(count) * (len(PAYLOAD_ATTRIBUTE) + len(PAYLOAD_TYPE))

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{self.queue_path.as_uri()}?mode=ro", uri=True)

    async def until_queue_has(self, count: int) -> None:
        """Wait until what was accepted has arrived.

        Raises:
            CountsError: more arrived than was accepted, or nothing moved for a minute.

        """
        last, moved_at = -1, CLOCK.monotonic()
        while (found := await asyncio.to_thread(self.events_in_queue)) != count:
            if found > count:
                raise CountsError(f"{found} events in the queue; {count} were accepted")
            if found != last:
                last, moved_at = found, CLOCK.monotonic()
            if CLOCK.monotonic() - moved_at > STALLED_SECONDS:
                raise CountsError(f"{found} of {count} accepted events are in the queue, and nothing moves")
            await asyncio.sleep(ARRIVED_POLL_SECONDS)


@asynccontextmanager
async def hose_alone(directory: Path, **named: Any) -> AsyncIterator[HoseAlone]:
    """Start it with these settings and all others at their defaults, so with every fsync; end it afterwards."""
    [port] = free_ports(1)
    queue_path = directory / "queue" / "queue.sqlite"
    settings = settings_module.load(
        data_dir=directory,
        queue_url=f"sqlite:///{queue_path}",
        hose_port=port,
        log_level="error",
        **named,
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "omni_etl", "hose", "--watch-stdin"),
        stdin=asyncio.subprocess.PIPE,
        env={**os.environ, **settings_module.environment(settings)},
        start_new_session=True,  # Ctrl-C comes to us, and we end it
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await _until_it_answers(process, f"{url}/health")
        yield HoseAlone(url, process.pid, queue_path)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS_MAX)
        except TimeoutError:
            process.kill()
            await process.wait()


@asynccontextmanager
async def sender(url: str, directory: str, *arguments: str) -> AsyncIterator[Helper]:
    """One that has its bodies in memory and waits for the word; `sent` tells its end."""
    helper = await Helper.start("bench.sender", url, directory, *arguments)
    try:
        await helper.line()
        yield helper
    finally:
        await helper.stop()


async def sent(helper: Helper) -> Sent:
    """What it says when it is through."""
    return msgspec.json.decode(await helper.line(), type=Sent)


async def _until_it_answers(process: asyncio.subprocess.Process, url: str) -> None:
    until = CLOCK.monotonic() + START_SECONDS_MAX
    while not await answers(url):
        if process.returncode is not None or CLOCK.monotonic() > until:
            raise CountsError("the hose did not start")
        await asyncio.sleep(START_POLL_SECONDS)
