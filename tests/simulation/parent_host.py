"""A machine with a parent and its children: the real code of `omni run`, in processes that die, freeze and are stopped."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

from tests.simulation.faults import Faults, LoopClock
from tests.simulation.virtual_loop import VirtualLoop

from omni_etl.cli import run
from omni_etl.service import Service
from omni_etl.supervisor.channel import Message
from omni_etl.supervisor.child import Child
from omni_etl.supervisor.children import Children
from omni_etl.wiring.supervisor import Parent

ORPHAN_SECONDS_MAX: Final = 2.0
STOP_SECONDS: Final = 20.0
KILLED: Final = -9


class Pipe:
    """One end of a channel between parent and child."""

    def __init__(self) -> None:
        self.other = self
        self._arrived: asyncio.Queue[Message | None] = asyncio.Queue()

    @classmethod
    def pair(cls) -> tuple[Pipe, Pipe]:
        """Both ends."""
        ours, theirs = cls(), cls()
        ours.other, theirs.other = theirs, ours
        return ours, theirs

    @classmethod
    async def over(cls, end: Pipe) -> Pipe:
        """As `Channel.over`, which gets a socket."""
        return end

    async def send(self, message: Message) -> None:
        """Write one message."""
        self.post(message)

    def post(self, message: Message) -> None:
        """The same."""
        self.other._arrived.put_nowait(message)

    async def receive(self) -> Message | None:
        """None at the end."""
        return await self._arrived.get()

    def close(self) -> None:
        """The other side reads the end of it."""
        self.other._arrived.put_nowait(None)


class ChildProcess:
    """What `asyncio.subprocess.Process` is to the parent."""

    def __init__(self, loop: VirtualLoop, name: str, end: Pipe) -> None:
        self.name = name
        self.pid = 1
        self.returncode: int | None = None
        self._loop = loop
        self._end = end
        self._ended = asyncio.Event()

    def begin(self, child: Child) -> None:
        """Run its code."""
        self._loop.start(self.name, self._live(child))

    def kill(self) -> None:
        """-9."""
        if self.returncode is None:
            self._loop.kill(self.name)
            self._over(KILLED)

    def orphan(self, seconds: float) -> None:
        """Its parent is gone: it hears so, and ends in time whatever it does."""
        self._end.other.close()
        self._loop.call_later(seconds, self.kill)

    async def wait(self) -> int:
        """Its code, once it ended."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def _live(self, child: Child) -> None:
        await child.serve()
        self._over(0)

    def _over(self, code: int) -> None:
        self.returncode = code
        self._end.close()
        self._ended.set()


class SimulatedChildren(Children):
    """The real ones, but for how a process is started."""

    def __init__(self, *, host: ParentHost, **kwargs: Any) -> None:
        super().__init__(command=lambda _service, _fd: [], environment={}, **kwargs)
        self._host = host

    async def _spawn(self, service: str) -> Any:
        host = self._host
        await asyncio.sleep(host.faults.rng.random() * 0.2)
        ours, theirs = Pipe.pair()
        host.spawned += 1
        process: Any = ChildProcess(host.faults.loop, f"{host.process}/{service}#{host.spawned}", theirs)
        self._processes[service] = process
        self._heard_at[service] = self._clock.monotonic()
        rng = random.Random(host.faults.rng.random())
        channel: Any = theirs
        process.begin(
            Child(service=host.build_service(service, host.clock), channel=channel, clock=host.clock, rng=rng)
        )
        return ours


class ParentHost:
    """One `omni run` after another."""

    def __init__(
        self,
        name: str,
        *,
        faults: Faults,
        build_parent: Callable[[ParentHost], Parent],
        build_service: Callable[[str, LoopClock], Service],
    ) -> None:
        self.name = name
        self.faults = faults
        self.clock = LoopClock(faults.loop, began_at=1_764_000_000.0)
        self.build_service = build_service
        self.process = f"{name}#0"
        self.spawned = 0
        self.starts = 0
        self.ended: list[str] = []  # runs that ended unasked
        self._build_parent = build_parent
        self.parent: Parent | None = None
        self._stop = asyncio.Event()
        self._running: asyncio.Task[Any] | None = None

    def start(self) -> None:
        """A new process."""
        self.starts += 1
        self.process = f"{self.name}#{self.starts}"
        self.parent = self._build_parent(self)
        self._stop = asyncio.Event()
        self._running = self.faults.loop.start(self.process, self._live(self.parent, self._stop))

    @property
    def children(self) -> dict[str, ChildProcess]:
        """Its living ones."""
        assert self.parent is not None
        processes: dict[str, Any] = self.parent.children._processes
        return {name: each for name, each in processes.items() if each.returncode is None}

    def kill(self) -> None:
        """-9; its children follow."""
        self.faults.loop.kill(self.process)
        for child in self.children.values():
            child.orphan(self.faults.rng.random() * ORPHAN_SECONDS_MAX)

    async def restart(self) -> None:
        """In order."""
        await self.stop()
        self.start()

    async def stop(self) -> None:
        """SIGTERM, and -9 where that does not help in time."""
        self._stop.set()
        assert self._running is not None
        await asyncio.wait([self._running], timeout=4 * STOP_SECONDS)
        self.kill()

    async def _live(self, parent: Parent, stop: asyncio.Event) -> None:
        settings: Any = SimpleNamespace(stop_seconds_max=STOP_SECONDS, parent=parent)
        try:
            code = await run.serve(settings, stop)
        except Exception as error:  # noqa: BLE001 told to the test, which fails for it
            self.ended.append(repr(error))
        else:
            if code or not stop.is_set():
                self.ended.append(f"code {code}")
