"""A small world for the supervisor: real parent code, a strict queue and a tracker that forget, fail and repeat; one seed."""

from __future__ import annotations

import asyncio
import copy
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from omni_etl.backends.memory import AWS_LIMITS, Faults, MemoryQueue
from omni_etl.backends.memory_tracker import MemoryTracker
from omni_etl.clock import ManualClock
from omni_etl.envelope import LANES, Header, Lane, SealedEnvelope, Stamp, open_header, pack
from omni_etl.errors import UnavailableError
from omni_etl.queue import dead_letters, queue_names, siding
from omni_etl.registry import DeadLetter, RegisteredService, RoleReport
from omni_etl.supervisor.channel import Result, Work
from omni_etl.supervisor.engines import Engines
from omni_etl.supervisor.limits import SupervisorLimits
from omni_etl.supervisor.loop import Supervisor

SERVICES = ["metrics", "message_events", "suppressions", "webhooks"]
TURNS = 40  # of the event loop between two moves of the clock: enough for every callback chain to run out

LIMITS = SupervisorLimits(
    lease_seconds=30,
    leases_max=16,
    child_slots=3,
    wait_beyond_others_seconds=10.0,
    applications_max=3,
    dead_share_max=0.01,
    dead_count_min=3,
    circuit_wait_seconds_max=5.0,
)


class WorldRegistry:
    """A registry in memory; only what the supervisor asks."""

    def __init__(self, services: list[str]) -> None:
        self.registered = [RegisteredService(name, 0, retired=False) for name in services]
        self.reasons: dict[tuple[str, str], str] = {}

    async def open(self) -> None:
        """Nothing to reach."""

    async def close(self) -> None:
        """Nothing to give back."""

    async def register(self, names: Any) -> None:
        """Known from the start."""

    async def retire(self, name: str) -> bool:
        """Never asked."""
        raise AssertionError(name)

    async def services(self) -> list[RegisteredService]:
        """All."""
        return self.registered

    async def epoch(self) -> str | None:
        """One for ever."""
        return "e"

    async def set_epoch(self, epoch: str) -> None:
        """Never asked."""
        raise AssertionError(epoch)

    async def report(self, role: str, instance: str, state: dict[str, Any]) -> None:
        """Heard by nobody."""

    async def reports(self) -> list[RoleReport]:
        """None."""
        return []

    async def bury(self, service: str, key: str, reason: str) -> None:
        """Keep the reason."""
        self.reasons[service, key] = reason

    async def dead_letters(self) -> list[DeadLetter]:
        """None."""
        return []


@dataclass
class Trouble:
    """Shares of 1 that something goes wrong at one application."""

    unavailable: float = 0.0
    poison: float = 0.0
    dies_before: float = 0.0
    dies_after: float = 0.0  # the effect is made, the answer is not
    slow_seconds: float = 0.2
    slow: dict[str, float] = field(default_factory=dict)  # service → seconds that each of its applications takes longer
    hung: set[tuple[str, str]] = field(default_factory=set)  # (service, key) whose first application never ends
    always_poison: set[tuple[str, str]] = field(default_factory=set)  # (service, key)
    always_deadly: set[tuple[str, str]] = field(default_factory=set)  # (service, key) that kills its child
    away: set[str] = field(default_factory=set)  # services whose engine is away


class WorldChildren:
    """Children without processes: each application makes its effect and ledger entry in one step."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._parent = world.supervisor  # whom they answer, also when another one has taken its place
        self._generation: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def keep(self, service: str) -> None:
        """Ready at once, and for ever."""
        self._parent.child_ready(service, frozenset({"delivery", "bounce"}))
        await asyncio.Event().wait()

    async def ping(self) -> None:
        """Never silent."""
        await asyncio.Event().wait()

    async def send(self, service: str, work: Work) -> None:
        """Begin one application."""
        task = asyncio.create_task(self._apply(service, work, self._generation[service]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def pids(self) -> dict[str, int]:
        """No process."""
        return {}

    async def _apply(self, service: str, work: Work, generation: int) -> None:
        world, trouble = self._world, self._world.trouble
        await world.clock.sleep(world.rng.random() * trouble.slow_seconds + trouble.slow.get(service, 0.0))
        if generation != self._generation[service]:
            return  # died meanwhile, with all it held
        header = open_header(work.header)
        key = header.key
        if (service, key) in trouble.hung:
            trouble.hung.remove((service, key))
            return
        outcome = self._outcome(service, header, work)
        if outcome == "dies_before":
            self.die(service)
            return
        if outcome in ("done", "dies_after"):
            world.effects[service, key] += (service, key) not in world.ledger
            world.ledger[service, key] = header.checksum
        if outcome == "dies_after":
            self.die(service)
            return
        self._parent.child_answered(service, Result(work.work_id, outcome, outcome))  # type: ignore[arg-type]  # a Literal

    def _outcome(self, service: str, header: Header, work: Work) -> str:
        world, trouble, key = self._world, self._world.trouble, header.key
        certain = {
            "unavailable": service in trouble.away,
            "dies_before": (service, key) in trouble.always_deadly,
            "poison": (service, key) in trouble.always_poison,
            "lapsed": world.clock.monotonic() >= work.deadline,
            "conflict": world.ledger.get((service, key), header.checksum) != header.checksum,
        }
        for name, holds in certain.items():
            if holds:
                return name
        for name in ("unavailable", "poison", "dies_before", "dies_after"):
            if world.rng.random() < getattr(trouble, name):
                return name
        return "done"

    def kill(self, service: str) -> None:
        """As the parent asks; it hears of the death."""
        self.die(service)

    def die(self, service: str) -> None:
        """Gone with all it held, and replaced at once."""
        self._generation[service] += 1
        self._parent.child_died(service)
        self._parent.child_ready(service, frozenset({"delivery", "bounce"}))


class World:
    """One supervisor and all it touches."""

    def __init__(self, seed: int, *, limits: SupervisorLimits = LIMITS, tracker: MemoryTracker | None = None) -> None:
        self.rng = random.Random(seed)
        self.clock = ManualClock()
        self.queue = MemoryQueue(self.clock, limits=AWS_LIMITS, faults=Faults(rng=random.Random(seed + 1)))
        self.tracker = tracker or MemoryTracker(self.clock)
        self.registry = WorldRegistry(SERVICES)
        self.trouble = Trouble()
        self.ledger: dict[tuple[str, str], str] = {}  # (service, key) → checksum
        self.effects: Counter[tuple[str, str]] = Counter()
        self.limits = limits
        self.sent: list[str] = []
        self._start()

    def _start(self) -> None:
        engines = Engines(
            queue=self.queue, tracker=self.tracker, registry=self.registry, clock=self.clock, rng=self.rng
        )
        self.supervisor = Supervisor(
            engines=engines, services=list(SERVICES), limits=self.limits, clock=self.clock, rng=self.rng
        )
        self.hear()

    async def open(self) -> None:
        """Reach the engines and begin to receive."""
        await self.queue.open(queue_names(SERVICES))
        await self.tracker.open("e")
        self.begin()

    def hear(self) -> None:
        """The parent hears what is registered now."""
        self.supervisor.hear(self.registry.registered, asked_at=self.clock.now())

    def begin(self) -> None:
        """Let the parent run."""
        self.children = WorldChildren(self)
        children: Any = self.children
        self._running = asyncio.create_task(self.supervisor.run(children))

    def beside(self) -> World:
        """Another parent on the same engines."""
        other = copy.copy(self)
        other._start()
        other.begin()
        return other

    async def kill(self) -> None:
        """The parent dies with all it knew; another one starts."""
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running
        self._start()
        self.begin()

    async def send(self, count: int, *, lane: Lane | None = None) -> None:
        """Put envelopes into the lanes, as a hose would: again until the queue confirms."""
        for _ in range(count):
            sealed = envelope(len(self.sent) + 1, lane=lane or LANES[self.rng.random() < 0.7])
            header = open_header(sealed.header)
            self.sent.append(header.key)
            while True:
                with suppress(UnavailableError):
                    if not await self.queue.send(header.lane, [sealed]):
                        break

    async def until(self, holds: Callable[[], bool], *, seconds_max: float) -> None:
        """Move the clock until this holds."""
        end = self.clock.monotonic() + seconds_max
        while not holds():
            assert self.clock.monotonic() < end, f"after {seconds_max} s: {self.supervisor.state()}"
            assert not self._running.done(), self._running
            self.clock.advance(0.05)
            for _ in range(TURNS):
                await asyncio.sleep(0)

    async def close(self) -> None:
        """End it."""
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running

    def stored(self, name: str) -> int:
        """Envelopes in a queue, leased ones too."""
        return len(self.queue._shelves[name].messages)

    def is_settled(self) -> bool:
        """Lanes and sidings hold nothing."""
        return not any(self.stored(name) for name in [*LANES, *map(siding, SERVICES)])

    def check(self) -> None:
        """Every envelope had each effect exactly once, or lies in that service's dead letters."""
        for key in self.sent:
            for service in SERVICES:
                count = self.effects[service, key]
                is_dead = (service, key) in self.registry.reasons
                assert count == 1 or (count == 0 and is_dead), f"{service} had {count} effects of {key}"
        dead = {service: self.stored(dead_letters(service)) for service in SERVICES}
        for service, key in self.registry.reasons:
            assert dead[service], f"{key} was buried by {service}, and no dead letter is there"


def envelope(seq: int, *, lane: Any = "bulk", hose_id: str = "h") -> SealedEnvelope:
    """A small envelope with one delivery and one bounce."""
    stamp = Stamp(hose_id, lane, seq, 1_700_000_000_000, {"express": seq, "bulk": seq}, seq)
    return pack({"delivery": [b'{"n":%d}' % seq], "bounce": [b'{"n":%d}' % seq]}, stamp)
