"""A machine with a hose: killed, frozen, without power, stopped in order, and started again on what that left."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tests.simulation.disk import Disks
from tests.simulation.faults import KINDS, Faults, LoopClock

from omni_etl.errors import IntakeError, UnavailableError
from omni_etl.hose import CutLimits, EventHose, HoseLimits, RememberLimits
from omni_etl.hose.answer import Answer
from omni_etl.queue import Queue

MIB: Final = 1024 * 1024
ANSWER_SECONDS_MAX: Final = 15.0
CUTS: Final = CutLimits(
    envelope_bytes=8 * 1024,
    envelope_events_max=8,
    bulk_age_seconds=2.0,
    express_age_seconds=0.2,
    express_age_idle_seconds=0.5,
    express_busy_events_per_second=10.0,
    heartbeat_seconds=30.0,
)
LIMITS: Final = HoseLimits(
    cuts=CUTS,
    requests=RememberLimits(1_000, 86_400),
    spool_bytes_max=MIB,
    spool_segment_bytes=4 * 1024,
    body_bytes_max=MIB,
    raw_bytes_max=MIB,
    waiting_bytes_max=MIB,
    uncut_bytes_max=MIB,
    sends_in_flight_max=3,
    event_age_seconds_max=0,
)


class NoAnswerError(Exception):
    """The producer knows nothing about its request."""


class HoseHost:
    """One spool directory and whoever holds it now."""

    def __init__(self, name: str, directory: Path, *, queue: Queue, faults: Faults, disks: Disks) -> None:
        self.name = name
        self.directory = directory
        self.process = f"{name}#0"
        self.starts = 0
        self.hose: EventHose | None = None  # once it answers
        self.clock = LoopClock(faults.loop, began_at=1_764_000_000.0)
        self._made: EventHose | None = None
        self._queue = queue
        self._faults = faults
        self._disks = disks
        cuts = replace(CUTS, envelope_events_max=faults.rng.choice((3, 8, 20)))
        self._limits = replace(LIMITS, cuts=cuts)

    def start(self) -> None:
        """A new process on the directory."""
        self.starts += 1
        self.process = f"{self.name}#{self.starts}"
        self._faults.loop.start(self.process, self._live())

    async def post(self, body: bytes, key: str | None, *, repeats: bool) -> Answer:
        """What a producer sees of the hose. A network may repeat a request, but only one that can be recognised may be repeated."""
        may = KINDS if repeats else tuple(kind for kind in KINDS if kind != "repeated")
        return await self._faults.call("http", lambda: self._post(body, key), may=may, error=lambda _: NoAnswerError())

    def kill(self, *, power: bool = False) -> None:
        """-9, or the machine with it."""
        self._faults.loop.kill(self.process)
        self.hose = None
        memory = self.directory / "requests.sqlite"
        before = memory.read_bytes() if power and memory.exists() else None
        if self._made is not None:
            _let_go(self._made)
            self._made = None
        if power:
            self._disks.lose_power(self.directory, self._faults.rng)
        if before is not None and self._faults.rng.random() < 0.5:
            memory.write_bytes(before)  # without what was only in the log beside it

    async def restart(self) -> None:
        """In order."""
        hose = self.hose
        if hose is None:
            return
        self.hose = None
        stopping = self._faults.loop.start(self.process, hose.stop(5.0))
        await asyncio.wait([stopping], timeout=60)
        if stopping.done():
            self._made = None
        self.kill()
        self.start()

    async def _live(self) -> None:
        while True:
            rng = random.Random(self._faults.rng.random())
            made = EventHose(
                queue=self._queue, clock=self.clock, rng=rng, limits=self._limits, spool_dir=self.directory
            )
            self._made = made
            try:
                await made.start()
            except UnavailableError:
                self._made = None
                await self.clock.sleep(1.0)
                continue
            self.hose = made
            return

    async def _post(self, body: bytes, key: str | None) -> Answer:
        hose, answer = self.hose, asyncio.get_running_loop().create_future()
        if hose is None:
            raise NoAnswerError

        async def serve() -> None:
            result: Any
            try:
                result = await hose.accept(body, key=key)
            except IntakeError as error:
                result = error
            if not answer.done():
                answer.set_result(result)

        self._faults.loop.start(self.process, serve())
        try:
            result = await asyncio.wait_for(answer, ANSWER_SECONDS_MAX)
        except TimeoutError:
            raise NoAnswerError from None
        if isinstance(result, IntakeError):
            raise result
        found: Answer = result
        return found


def _let_go(hose: EventHose) -> None:
    """What the kernel takes from a dead process: its descriptors and with them its lock."""
    spool = getattr(hose, "_spool", None)
    if spool is not None and spool._writer._file is not None:
        with suppress(OSError):
            os.close(spool._writer._file)
        spool._writer._file = None
    memory = getattr(hose, "_memory", None)
    if memory is not None:
        memory.close()
    if hose._lock is not None:
        with suppress(OSError):
            os.close(hose._lock)
