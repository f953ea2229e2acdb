"""A database in a directory of its own, and processes beside this one."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from omni_etl.backends.database.engine import Database, open_database
from omni_etl.clock import ManualClock

Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock()


@pytest.fixture
async def control(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Database]:
    """The control part, open."""
    database = open_database(f"sqlite:///{tmp_path}", "control", clock)
    await database.open("test")
    yield database
    await database.close("test")


@pytest.fixture
async def outbox_part(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Database]:
    """The outbox part, open."""
    database = open_database(f"sqlite:///{tmp_path}", "outbox", clock)
    await database.open("test")
    yield database
    await database.close("test")


@pytest.fixture
async def queue_part(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Database]:
    """The queue part, open."""
    database = open_database(f"sqlite:///{tmp_path}/queue.sqlite", "queue", clock)
    await database.open("test")
    yield database
    await database.close("test")


@pytest.fixture
def start() -> Iterator[Start]:
    """Run a script in a process of its own; what still runs at the end of the test is killed."""
    running: list[subprocess.Popen[str]] = []

    def run(script: str) -> "subprocess.Popen[str]":
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, env=environment
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
