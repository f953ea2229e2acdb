"""The whole way of an event in one process: hoses, queue, parents, children, engines; one seed; all that may go wrong."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from structlog.testing import capture_logs
from tests.simulation.customers import Customers
from tests.simulation.database import DatabaseFile, empty
from tests.simulation.disk import Disks
from tests.simulation.engines import GhostlyStore, TroubledQueue, TroubledStore, TroubledTracker
from tests.simulation.faults import Faults, LoopClock
from tests.simulation.hose_host import HoseHost
from tests.simulation.parent_host import ParentHost, Pipe, SimulatedChildren
from tests.simulation.poisoned import Poisoned
from tests.simulation.producers import BEGAN_AT, Producers
from tests.simulation.reaper import Reaper
from tests.simulation.virtual_loop import VirtualLoop, run

from omni_etl.backends.database.dead_letters import DatabaseDeadLetters
from omni_etl.backends.database.erasures import DatabaseErasures
from omni_etl.backends.database.registry import DatabaseRegistry
from omni_etl.backends.database.suppression_list import DatabaseSuppressionList
from omni_etl.backends.memory_tracker import MemoryTracker
from omni_etl.cli import run as omni_run
from omni_etl.hose import segments
from omni_etl.queue import dead_letters, siding
from omni_etl.service import Service
from omni_etl.services.message_events import MessageEvents
from omni_etl.services.metrics import Metrics
from omni_etl.services.store_service import Keeping
from omni_etl.services.suppressions import Suppressions
from omni_etl.services.webhooks import replaying
from omni_etl.supervisor import children as children_module
from omni_etl.supervisor import fleet
from omni_etl.supervisor.audit_check import AuditCheck, CheckLimits
from omni_etl.supervisor.dead_letters import name_of
from omni_etl.supervisor.engines import Engines
from omni_etl.supervisor.forgetting import Forgetting
from omni_etl.supervisor.held import Held
from omni_etl.supervisor.limits import SupervisorLimits
from omni_etl.supervisor.loop import Supervisor
from omni_etl.supervisor.redrive import Choice, Mending
from omni_etl.wiring.supervisor import Parent

SERVICES: Final = ("message_events", "metrics", "suppressions", "webhooks")
TROUBLE_SECONDS: Final = 90.0
NEVER: Final = CheckLimits(every_seconds=0.0, window_hours=1)  # the oracle audits here
ROWS_AT_ONCE: Final = 1_000
QUIET_SECONDS_MAX: Final = 3_600.0
LIMITS: Final = SupervisorLimits(
    lease_seconds=30,
    leases_max=16,
    child_slots=3,
    wait_beyond_others_seconds=10.0,
    applications_max=3,
    dead_share_max=0.01,
    dead_count_min=3,
    circuit_wait_seconds_max=5.0,
)


class Way:
    """Everything of one run."""

    def __init__(self, seed: int, loop: VirtualLoop, *, directory: Path, logged: list[Any], calm: bool) -> None:
        self._calm = calm
        self.services = SERVICES
        self.loop = loop
        rng = random.Random(seed)
        self.faults = Faults(rng, loop)
        self.clock = LoopClock(loop, began_at=BEGAN_AT)  # the engines'
        self.queue = TroubledQueue(self.faults, self.clock)
        self.tracker = MemoryTracker(self.clock)
        self.store = GhostlyStore(self.faults, self.clock, lease_seconds=LIMITS.lease_seconds)
        self.inserts_absent = rng.random() < 0.4
        self.control = DatabaseFile("control", self.faults)
        self.customers = Customers(self.faults, self.clock, self.control)
        self.disks = Disks(self.faults, on_death=self._died)
        self.hoses = [
            HoseHost(f"hose{at}", directory / f"hose{at}", queue=self.queue, faults=self.faults, disks=self.disks)
            for at in range(rng.choice((1, 1, 2)))
        ]
        self.parents = [
            ParentHost(f"parent{at}", faults=self.faults, build_parent=self._parent, build_service=self._service)
            for at in range(rng.choice((1, 2)))
        ]
        self.producers = Producers(rng, self.hoses)
        self.reaper = Reaper(self)
        self.logged = logged
        self.unexplained: list[str] = []

    async def live(self) -> None:
        """Trouble, then quiet until all is settled."""
        await self.begin()
        producing = asyncio.create_task(self.producers.run(seconds=TROUBLE_SECONDS * 0.7))
        reaping = asyncio.create_task(asyncio.sleep(0) if self._calm else self.reaper.run())
        await asyncio.sleep(TROUBLE_SECONDS)
        reaping.cancel()
        await asyncio.wait([reaping])
        self.reaper.mend()
        await self._until(producing.done)
        producing.result()
        await self.end()

    async def begin(self) -> None:
        """Customers subscribe, and whatever has processes starts them."""
        self.faults.on = False
        await self.customers.subscribe()
        self.faults.on = not self._calm
        for host in self.hosts:
            host.start()

    async def end(self) -> None:
        """Until all is settled, the last word of each hose_id too."""
        await self._until(lambda: self.is_settled)
        await asyncio.gather(*(each.restart() for each in self.hoses))
        await self._until(lambda: self.is_settled)

    @property
    def hosts(self) -> list[HoseHost | ParentHost]:
        """Whatever has processes."""
        return [*self.hoses, *self.parents]

    @property
    def is_settled(self) -> bool:
        """Nothing is on its way anywhere."""
        names = ["express", "bulk", *map(siding, SERVICES), *map(dead_letters, SERVICES)]
        sent = all(each.hose is not None and not each.hose.unsent_count for each in self.hoses)
        uncut = any(each.hose is not None and each.hose._batcher.count for each in self.hoses)
        held = any(each.parent is not None and each.parent.supervisor._held for each in self.parents)
        on_its_way = uncut or held or self.customers.owed or self.faults.under_way or any(map(self.queue.count, names))
        return sent and not on_its_way

    def close(self) -> None:
        """Files and connections."""
        for each in self.hoses:
            each.kill()
        self.control.close()
        self.customers.close_files()

    async def _until(self, holds: Any) -> None:
        """The operator looks after dead letters meanwhile."""
        end = self.loop.elapsed + QUIET_SECONDS_MAX
        while not holds():
            conflicts = [each for each in self.logged if each["event"] == "id_conflict"]
            assert not conflicts, f"two envelopes under one key: {conflicts[0]}"
            assert self.loop.elapsed < end, f"not quiet: {self.state()}"
            await asyncio.sleep(20)
            await self.customers.mend()
            await self.redrive()

    async def redrive(self) -> None:
        """What the operator does with dead letters; each has its reason."""
        letters = DatabaseDeadLetters(self.control.connect(self.clock), self.clock)
        for service in SERVICES:
            await self._explain(service, letters)
            await Mending(self.queue, letters, clock=self.clock).redrive(Choice(service, ROWS_AT_ONCE))

    async def _explain(self, service: str, letters: DatabaseDeadLetters) -> None:
        for message in list(self.queue.kept._shelves[dead_letters(service)].messages.values()):
            burial = await letters.find(service, name_of(message.envelope))
            if burial is None or not burial.reason:
                self.unexplained.append(f"a dead letter of {service} without a reason: {name_of(message.envelope)}")

    def state(self) -> dict[str, Any]:
        """What stands where, for whoever reads a failure."""
        shelves = {name: len(shelf.messages) for name, shelf in self.queue.kept._shelves.items() if shelf.messages}
        parents = {each.name: each.parent.supervisor.state() for each in self.parents if each.parent is not None}
        return {
            "queue": shelves,
            "parents": parents,
            "unsent": [each.hose and each.hose.unsent_count for each in self.hoses],
        }

    def _died(self, process: str, *, power: bool) -> None:
        """In the middle of a call to the disk."""
        self.loop.kill(process)
        host = next(each for each in self.hoses if each.process == process)
        self.loop.start("world", self.reaper.start_again(host, power=power, twice=not power))

    def _parent(self, host: ParentHost) -> Parent:
        control = self.control.connect(host.clock)
        rng = random.Random(self.faults.rng.random())
        engines = Engines(
            queue=self.queue,
            tracker=TroubledTracker(self.tracker, self.faults),
            registry=DatabaseRegistry(control, host.clock),
            clock=host.clock,
            rng=rng,
        )
        supervisor = Supervisor(engines=engines, services=list(SERVICES), limits=LIMITS, clock=host.clock, rng=rng)
        children = SimulatedChildren(host=host, events=supervisor, clock=host.clock, rng=rng)
        erasures = DatabaseErasures(control, host.clock)
        store: Any = TroubledStore(self.store, self.faults, inserts_absent=self.inserts_absent)
        nobody: Any = None
        return Parent(
            supervisor=supervisor,
            children=children,
            forgetting=Forgetting(erasures=erasures, children=children, desks=supervisor.desks.values()),
            audit=AuditCheck(nobody, registry=engines.registry, limits=NEVER, clock=host.clock, rng=rng),
            engines=engines,
            store=store,
            services=list(SERVICES),
            clock=host.clock,
            rng=rng,
        )

    def _service(self, name: str, clock: LoopClock) -> Service:
        return Poisoned(self._sound_service(name, clock), self.faults)

    def _sound_service(self, name: str, clock: LoopClock) -> Service:
        if name == "suppressions":
            return Suppressions(DatabaseSuppressionList(self.control.connect(clock), clock))
        if name == "webhooks":
            return self.customers.service(clock, random.Random(self.faults.rng.random()))
        store = TroubledStore(self.store, self.faults, inserts_absent=self.inserts_absent)
        kind = MessageEvents if name == "message_events" else Metrics
        return kind(store, keeping=Keeping(gather_seconds=self.faults.rng.choice((0.0, 0.1))), clock=clock)


@contextmanager
def lived(seed: int, *, calm: bool = False, life: Callable[[Way], Awaitable[None]] = Way.live) -> Iterator[Way]:
    """Run a seed, `calm` without any fault; what it leaves stands until the block ends."""
    directory = Path(tempfile.mkdtemp(prefix="omni-sim-", dir=_quick_directory()))
    ways: list[Way] = []
    empty("outbox")
    empty(
        "control"
    )  # made before anything is drawn, or the first run of a process would draw otherwise than the second

    async def main(loop: VirtualLoop) -> None:
        way = Way(seed, loop, directory=directory, logged=logged, calm=calm)
        ways.append(way)
        with patch.object(segments, "os", way.disks):
            await life(way)
        way.faults.over = True
        way.logged = list(logged)

    try:
        with _repeatable(seed), capture_logs() as logged:
            run(main)
        yield ways[0]
    finally:
        for way in ways:
            way.close()
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _repeatable(seed: int) -> Iterator[None]:
    """What is random for good reasons repeats here, and sets of leases have one order."""
    rng = random.Random(f"bytes {seed}")
    with ExitStack() as stack:
        for target, name, value in (
            (os, "urandom", rng.randbytes),
            (secrets, "token_hex", lambda count=16: rng.randbytes(count).hex()),
            (children_module, "Channel", Pipe),
            (fleet, "HEAR_SECONDS", 6.0),  # less to do, the same to go wrong
            (replaying, "POLL_SECONDS", 60.0),
            (omni_run, "build_parent", lambda settings: settings.parent),
            (Held, "__hash__", lambda held: hash(held.lease.receipt)),
        ):
            stack.enter_context(patch.object(target, name, value))
        yield


def _quick_directory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
