"""Children: one process a service; start, ready, ping, replace with back-off, stop.

A child that never became ready stops the parent (its code cannot start); one that dies later is replaced.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol

from omni_etl import telemetry
from omni_etl.backoff import Backoff
from omni_etl.clock import Clock
from omni_etl.erasure import Known
from omni_etl.errors import OmniError, SettingsError
from omni_etl.queue import batches
from omni_etl.supervisor.channel import Channel, Forget, Ping, Pong, Ready, Result, Stop, Unfit, Work

PING_SECONDS: Final = 5.0
SILENT_SECONDS_MAX: Final = 60.0  # a child whose loop is stuck for so long is replaced
HANGUP_SECONDS_MAX: Final = 5.0  # between hanging up and being gone
ERASURES_AT_ONCE: Final = 100_000  # in one message, some 3 MB
LIVED_SECONDS: Final = 60.0  # a child that lived so long is replaced at once, without what earlier deaths added


class ChildUnreadyError(OmniError):
    """A child ended before it was ready."""


class ChildEvents(Protocol):
    """What the parent hears of its children."""

    def child_ready(self, service: str, types: frozenset[str]) -> None:
        """It takes work now."""
        ...

    def child_answered(self, service: str, result: Result) -> None:
        """One work ended."""
        ...

    def child_died(self, service: str) -> None:
        """What it held comes back."""
        ...


class Children:
    """`command(service, fd)` is the argv of a child that speaks over `fd`."""

    def __init__(
        self,
        *,
        command: Callable[[str, int], Sequence[str]],
        environment: Mapping[str, str],
        events: ChildEvents,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._command = command
        self._environment = {**os.environ, **environment}
        self._events = events
        self._clock = clock
        self._rng = rng
        self._backoff = Backoff(first_seconds=0.1, wait_seconds_max=10.0)
        self._channels: dict[str, Channel] = {}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._heard_at: dict[str, float] = {}
        self._to_forget: list[Forget] = []
        self._stopping = False

    async def keep(self, service: str) -> None:
        """Run this service's child, one after another, until `stop`.

        Raises:
            ChildUnreadyError: the code cannot start.
            SettingsError: the service said that waiting cannot heal it.

        """
        deaths = 0
        while not self._stopping:
            started_at = self._clock.monotonic()
            try:
                ours = await self._spawn(service)
            except (
                OSError
            ) as error:  # no process, memory or descriptor is left now: the machine's trouble, not the code's
                deaths += 1
                telemetry.get_logger().error("child_died", service=service, reason=str(error))
                await self._clock.sleep(self._backoff.wait_seconds(deaths, self._rng))
                continue
            was_ready = await self._live(service, ours)
            if self._stopping:
                return
            code = self._processes[service].returncode or 0
            if (
                not was_ready and code >= 0
            ):  # a signal says nothing about the code: someone killed it, or memory ran out
                telemetry.get_logger().error("child_unready", service=service, code=code)
                raise ChildUnreadyError(f"the child of {service} ended with code {code} before it was ready")
            lived = self._clock.monotonic() - started_at
            deaths = 1 if lived > LIVED_SECONDS else deaths + 1
            telemetry.get_logger().error("child_died", service=service, code=code, lived_seconds=round(lived, 1))
            self._events.child_died(service)
            if deaths > 1:
                await self._clock.sleep(self._backoff.wait_seconds(deaths - 1, self._rng))

    async def send(self, service: str, work: Work) -> None:
        """Hand one envelope to the child; if it dies meanwhile, `child_died` tells."""
        channel = self._channels.get(service)
        if channel is not None:
            await channel.send(work)

    def forget(self, known: Known) -> None:
        """Every child that lives, and every one that is started later, hears of these before its next work."""
        self._to_forget = [
            Forget(known.secret, [(each.name, each.at_ms) for each in part])
            for part in batches(known.erasures, ERASURES_AT_ONCE)
        ]
        for channel in self._channels.values():
            for message in self._to_forget:
                channel.post(message)

    def kill(self, service: str) -> None:
        """End this child at once; `child_died` follows."""
        process = self._processes.get(service)
        if process is not None and process.returncode is None:
            self._heard_at[service] = self._clock.monotonic()  # not again at once: that may take the exit code away
            with suppress(ProcessLookupError):
                process.kill()

    async def ping(self) -> None:
        """Ask every child for ever whether its loop turns; one that is silent for a minute is killed and replaced.

        So is one that has said nothing at all since its start.
        """
        while True:
            await self._clock.sleep(PING_SECONDS)
            now = self._clock.monotonic()
            for service in self._processes:
                if now - self._heard_at[service] > SILENT_SECONDS_MAX:
                    self.kill(service)
            for channel in self._channels.values():
                channel.post(Ping())

    async def stop(self, seconds_max: float) -> None:
        """Ask all to finish; kill who does not."""
        self._stopping = True
        for channel in self._channels.values():
            channel.post(Stop())
        alive = [process for process in self._processes.values() if process.returncode is None]
        waits = [asyncio.create_task(process.wait()) for process in alive]
        if waits:
            await asyncio.wait(waits, timeout=seconds_max)
        for process in alive:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    def pids(self) -> dict[str, int]:
        """The living children."""
        return {name: each.pid for name, each in self._processes.items() if each.returncode is None}

    async def _spawn(self, service: str) -> socket.socket:
        """Start the process; our end of the pipe to it.

        Raises:
            OSError: the machine has no room for it now; nothing is left of the try.

        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._command(service, theirs.fileno()),
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    env=self._environment,
                    start_new_session=True,  # a terminal's Ctrl-C goes to the parent, which stops its children in order
                )
            except OSError:
                ours.close()
                raise
        self._processes[service] = process
        self._heard_at[service] = self._clock.monotonic()
        return ours

    async def _live(self, service: str, ours: socket.socket) -> bool:
        """One child's life; True where it had become ready."""
        process = self._processes[service]
        channel = await Channel.over(ours)
        was_ready = False
        try:
            while (message := await channel.receive()) is not None:
                self._heard_at[service] = self._clock.monotonic()
                if isinstance(message, Ready):
                    was_ready = True
                    self._channels[service] = channel
                    for each in self._to_forget:
                        channel.post(each)
                    telemetry.get_logger().info("child_started", service=service, pid=process.pid)
                    self._events.child_ready(service, frozenset(message.types))
                    if self._stopping:
                        channel.post(Stop())
                elif isinstance(message, Result):
                    self._events.child_answered(service, message)
                elif isinstance(message, Unfit):
                    raise SettingsError(message.setting, message.found, message.fix)
                else:
                    assert isinstance(message, Pong), message
        finally:
            self._channels.pop(service, None)
            channel.close()
        await _end(process)
        return was_ready


async def _end(process: asyncio.subprocess.Process) -> None:
    """It hung up, so it is ending; if it does not, it ends now."""
    try:
        await asyncio.wait_for(process.wait(), HANGUP_SECONDS_MAX)
    except TimeoutError:
        process.kill()
        await process.wait()
