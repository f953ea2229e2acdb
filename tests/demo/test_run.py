"""demo.run: its parts. The whole run is in tests/e2e/test_path.py."""

import asyncio
import io
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import urllib3
from rich.console import Console
from rich.progress import Progress
from tests.demo.test_outcome import LANDED

from omni_etl import settings
from omni_etl.clock import ManualClock
from omni_etl.demo.outcome import Landed
from omni_etl.demo.run import POLL_SECONDS, Demo, StalledError, _chunks
from omni_etl.embedded.up import Places

STARTS_RECEIVER = """
import asyncio
from omni_etl.demo.run import _start_receiver, _until_it_answers
async def main():
    receiver = await _start_receiver()
    _until_it_answers(receiver.port)
    print(receiver.port, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


class HastyClock(ManualClock):
    """Whoever sleeps moves it."""

    async def sleep(self, seconds: float) -> None:
        """No time passes for anybody else."""
        self.advance(seconds)
        await asyncio.sleep(0)


class Sources:
    """Figures as they are read, the last one for ever."""

    def __init__(self, *figures: Landed) -> None:
        self._figures = list(figures)

    async def read(self) -> Landed:
        """The next."""
        return self._figures.pop(0) if len(self._figures) > 1 else self._figures[0]


async def settled(tmp_path: Path, sources: Any) -> tuple[Landed, float]:
    """What is waited for, and how long."""
    places = Places("http://h", "http://a", "key", "", "", "", str(tmp_path), {})
    clock = HastyClock()
    demo = Demo(places, settings.load(data_dir=tmp_path), 5, Console(file=io.StringIO()), clock)
    with Progress(console=demo.console) as progress:
        return await demo._settled(progress, 5, sources), clock.monotonic()


async def test_it_waits_until_the_slowest_has_everything(tmp_path: Path) -> None:
    """However long, while something moves."""
    slow = [replace(LANDED, webhook_events=count) for count in range(5) for _ in range(50)]
    landed, seconds = await settled(tmp_path, Sources(*slow, LANDED))
    assert landed == LANDED
    assert seconds == pytest.approx(250 * POLL_SECONDS)


async def test_what_does_not_move_any_more_is_told(tmp_path: Path) -> None:
    """After a minute, with what landed."""
    with pytest.raises(StalledError, match=r"nothing moved for 60 s; .*webhook_events=4"):
        await settled(tmp_path, Sources(replace(LANDED, webhook_events=4)))


def test_events_go_in_requests_of_bounded_size() -> None:
    """All of them, in order; none is empty."""
    lines: Iterator[bytes] = iter([b"1", b"2", b"3"])
    assert list(_chunks(lines, 2)) == [[b"1", b"2"], [b"3"]]


def test_the_receiver_does_not_outlive_the_demo() -> None:
    """Kill -9 of the demo leaves no process behind."""
    with subprocess.Popen([sys.executable, "-c", STARTS_RECEIVER], stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        port = int(demo.stdout.readline())
        demo.kill()
        demo.wait()
        demo.stdout.read()  # ends when the last process that holds this pipe has
    with pytest.raises(urllib3.exceptions.HTTPError):
        urllib3.request("GET", f"http://127.0.0.1:{port}/receipts", retries=False)
