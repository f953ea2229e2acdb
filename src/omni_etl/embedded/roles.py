"""Roles: processes that `omni up` starts, watches, starts again and ends; each dies by itself when `omni up` does."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from omni_etl import telemetry
from omni_etl.backoff import Backoff
from omni_etl.clock import Clock
from omni_etl.errors import OmniError

REFUSED: Final = 2  # the exit code of a role whose settings waiting cannot heal
LIVED_SECONDS: Final = 30.0  # a role that lived so long is started again at once
LOG_TAIL_BYTES: Final = 2_000
LOG_BYTES_MAX: Final = 16 * 1024 * 1024  # looked at when a role starts
POLL_SECONDS: Final = 0.05


class RoleFailedError(OmniError):
    """A role cannot start; the message holds what it said last."""


@dataclass(frozen=True, slots=True)
class Role:
    """What to start, and how to know that it serves. `is_ready` answers False until then."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    is_ready: Callable[[int], Awaitable[bool]]  # given the pid
    stop_seconds_max: float


class Roles:
    """Processes in the order of their start; ended in the reverse order given by `stop`."""

    def __init__(self, *, logs: Path, lock: int, clock: Clock, rng: random.Random) -> None:
        self._logs = logs
        self._lock = lock  # inherited, so that the data directory stays locked while any role lives
        self._clock = clock
        self._rng = rng
        self._backoff = Backoff(first_seconds=0.2, wait_seconds_max=10.0)
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._keeping: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[str] = set()

    async def start(self, role: Role, *, seconds_max: float) -> None:
        """Start it and keep it running; return when it serves.

        Raises:
            RoleFailedError: it refused its settings, or did not serve in time.

        """
        keeping = self._keeping[role.name] = asyncio.create_task(self._keep(role))
        until = self._clock.monotonic() + seconds_max
        while True:
            if keeping.done():
                await keeping
            process = self._processes.get(role.name)
            if process is not None and process.returncode is None and await role.is_ready(process.pid):
                return
            if self._clock.monotonic() > until:
                raise RoleFailedError(
                    f"{role.name} did not serve within {seconds_max:g} s.\n{self._last_words(role.name)}"
                )
            await self._clock.sleep(POLL_SECONDS)

    async def watch(self) -> None:
        """Return never; raises when a role cannot be kept running."""
        done, _ = await asyncio.wait(self._keeping.values(), return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            await task

    async def stop(self, role: Role) -> None:
        """End it: SIGTERM, and SIGKILL after its time."""
        self._stopping.add(role.name)
        process = self._processes.get(role.name)
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), role.stop_seconds_max)
            except TimeoutError:
                telemetry.get_logger().error("role_stalled", role=role.name, pid=process.pid)
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        keeping = self._keeping.pop(role.name, None)
        if keeping is not None:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    def pids(self) -> dict[str, int]:
        """The living roles."""
        return {name: each.pid for name, each in self._processes.items() if each.returncode is None}

    async def _keep(self, role: Role) -> None:
        deaths = 0
        while True:
            started_at = self._clock.monotonic()
            process = await self._spawn(role)
            code = await process.wait()
            if role.name in self._stopping:
                return
            if code == REFUSED:
                telemetry.get_logger().error("role_failed", role=role.name)
                raise RoleFailedError(f"{role.name} cannot start:\n{self._last_words(role.name)}")
            lived = self._clock.monotonic() - started_at
            telemetry.get_logger().error("role_died", role=role.name, code=code, lived_seconds=round(lived, 1))
            deaths = 1 if lived > LIVED_SECONDS else deaths + 1
            await self._clock.sleep(self._backoff.wait_seconds(deaths, self._rng))

    async def _spawn(self, role: Role) -> asyncio.subprocess.Process:
        with self._log(role.name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *role.arguments,
                stdin=asyncio.subprocess.PIPE,  # our end closes when we die, however we die
                stdout=log,
                stderr=log,
                env={**os.environ, **role.environment},
                pass_fds=[self._lock],
                start_new_session=True,  # a terminal's Ctrl-C comes to us, and we end the roles in order
            )
        self._processes[role.name] = process
        telemetry.get_logger().info("role_started", role=role.name, pid=process.pid)
        return process

    def _log(self, name: str) -> Path:
        """Where a role's words go; a file that grew too long is kept once, as `.log.1`, and a new one begun."""
        self._logs.mkdir(parents=True, exist_ok=True)
        path = self._logs / f"{name}.log"
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            path.replace(path.with_suffix(".log.1"))
        return path

    def _last_words(self, name: str) -> str:
        log = self._logs / f"{name}.log"
        return log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip() if log.exists() else ""
