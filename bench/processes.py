"""Processes: the benchmark's own helpers, and what each process of a running system costs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import psutil

from bench.row import CountsError
from omni_etl.demo.usage import Usage, usage

WATCHER: Final = "starter.py"


class Helper:
    """A module run beside us. It ends when its standard input does, so that it never outlives us."""

    def __init__(self, process: asyncio.subprocess.Process, module: str) -> None:
        self._process = process
        self._module = module

    @classmethod
    async def start(cls, module: str, *arguments: str) -> Helper:
        """`python -m module arguments`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C comes to us, and we end it
        )
        return cls(process, module)

    @property
    def pid(self) -> int:
        """For `Costs`."""
        return self._process.pid

    async def line(self) -> str:
        """What it says next.

        Raises:
            CountsError: nothing, because it ended.

        """
        assert self._process.stdout is not None
        said = await self._process.stdout.readline()
        if not said:
            raise CountsError(f"{self._module} ended with {await self._process.wait()} before it said anything")
        return said.decode()

    def go(self) -> None:
        """The word it waits for."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")

    async def stop(self) -> None:
        """End it."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        await self._process.wait()


class Costs:
    """CPU time from now on, and the most memory so far, of each process by its name."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = {name: _watched_by(pid) for name, pid in pids.items()}
        self._before = self._usages()

    def so_far(self) -> dict[str, Usage]:
        """Of those that still live."""
        return {name: each.since(self._before.get(name)) for name, each in self._usages().items()}

    def _usages(self) -> dict[str, Usage]:
        found = {name: usage(pid) for name, pid in self._pids.items()}
        return {name: each for name, each in found.items() if each is not None}


def _watched_by(pid: int) -> int:
    """The foreign program behind its watcher, or the process itself."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if any(WATCHER in part for part in process.cmdline()):
            [child] = process.children()
            return int(child.pid)
    return pid
