"""The reaper: who dies, freezes, loses its clock, its disk or its engine, and when; and who mends it all in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tests.simulation.hose_host import HoseHost

from omni_etl.envelope import LANES, SealedEnvelope
from omni_etl.errors import UnavailableError
from omni_etl.queue import dead_letters

if TYPE_CHECKING:
    from tests.simulation.way import Way

PAUSE_SECONDS: Final = (2.0, 5.0, 15.0, 60.0)
ENGINES: Final = ("queue", "tracker", "store", "database write", "database read", "http", "customer")
SKEW_SECONDS: Final = 1.4  # of a machine of the fleet: two of them stay within `CLOCKS_APART_SECONDS`
HOSE_SKEWS_SECONDS: Final = (-21_600.0, -60.0, -5.0, 5.0, 60.0, 21_600.0)  # a day would let it forget its requests


class Reaper:
    """Acts at random moments, so at any await."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._faults = way.faults
        self._loop = way.loop
        rng = self._faults.rng
        self._pause_seconds = rng.choice(PAUSE_SECONDS)
        deeds: list[Callable[[], None]] = [
            self._kill_child, self._kill_child, self._kill_parent, self._kill_hose, self._lose_power, self._stop_parent,
            self._stop_hose, self._freeze, self._jump, self._jump_hose, self._take_engine, self._fill_disk, self._forget,
            self._stray,
        ]  # fmt: skip
        self._deeds = [each for each in deeds if rng.random() < 0.6] or deeds
        self._starting: set[asyncio.Task[None]] = set()
        self._operators = 0
        self.strays = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._faults.rng.expovariate(1 / self._pause_seconds))
            deed = self._faults.rng.choice(self._deeds)
            self._faults.counted[deed.__name__.strip("_")] += 1
            deed()
            if any(self._way.queue.count(dead_letters(each)) for each in self._way.services):
                self._redrive()

    def mend(self) -> None:
        """No more trouble."""
        self._faults.on = False
        self._faults.away.clear()
        self._way.disks.full.clear()
        for process in list(self._loop.frozen):
            self._loop.thaw(process)

    async def start_again(self, host: HoseHost, *, power: bool = False, twice: bool = False) -> None:
        """After a while; `twice` cuts the power soon after, so that what the kernel alone had is gone as well."""
        host.kill(power=power)
        process = host.process
        await asyncio.sleep(self._faults.rng.random() * 5)
        if host.process != process:
            return
        host.start()
        if twice:
            await asyncio.sleep(self._faults.rng.random())
            if self._faults.on and host.process not in self._loop.dead:
                await self.start_again(host, power=True)

    def _kill_child(self) -> None:
        children = self._faults.rng.choice(self._way.parents).children
        if children:
            self._faults.rng.choice(list(children.values())).kill()

    def _kill_parent(self) -> None:
        host = self._faults.rng.choice(self._way.parents)
        host.kill()
        host.start()

    def _kill_hose(self) -> None:
        self._later(self.start_again(self._faults.rng.choice(self._way.hoses)))

    def _lose_power(self) -> None:
        self._later(self.start_again(self._faults.rng.choice(self._way.hoses), power=True))

    def _stop_parent(self) -> None:
        self._later(self._faults.rng.choice(self._way.parents).restart())

    def _stop_hose(self) -> None:
        self._later(self._faults.rng.choice(self._way.hoses).restart())

    def _freeze(self) -> None:
        names = [each.process for each in self._way.hosts]
        names += [child.name for host in self._way.parents for child in host.children.values()]
        process = self._faults.rng.choice(names)
        self._loop.freeze(process)
        self._loop.call_later(self._faults.rng.choice((2.0, 20.0, 70.0)), self._loop.thaw, process)

    def _jump(self) -> None:
        host = self._faults.rng.choice(self._way.parents)
        host.clock.ahead_seconds = self._faults.rng.uniform(-SKEW_SECONDS, SKEW_SECONDS)

    def _jump_hose(self) -> None:
        self._faults.rng.choice(self._way.hoses).clock.ahead_seconds = self._faults.rng.choice(HOSE_SKEWS_SECONDS)

    def _take_engine(self) -> None:
        until = self._loop.elapsed + self._faults.rng.choice((3.0, 20.0, 60.0))
        self._faults.away[self._faults.rng.choice(ENGINES)] = until

    def _fill_disk(self) -> None:
        process = self._faults.rng.choice(self._way.hoses).process
        self._way.disks.full.add(process)
        self._loop.call_later(self._faults.rng.random() * 20, self._way.disks.full.discard, process)

    def _forget(self) -> None:
        self._way.tracker.forget()

    def _stray(self) -> None:
        """Somebody else's message in a lane of ours."""
        self.strays += 1
        stray = SealedEnvelope(f"stray {self.strays}", b"not ours")
        self._later(self._way.queue.kept.send(self._faults.rng.choice(LANES), [stray]))

    def _redrive(self) -> None:
        """A command, which is cut off now and then."""
        self._operators += 1
        process = f"operator#{self._operators}"
        self._loop.start(process, self._operate())
        self._loop.call_later(self._faults.rng.choice((1.0, 1.0, 60.0)), self._loop.kill, process)

    async def _operate(self) -> None:
        with suppress(UnavailableError):
            await self._way.redrive()

    def _later(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]  # whatever can be awaited
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
