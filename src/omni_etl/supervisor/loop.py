"""The parent: receive, hand out, mark, settle, and look after children. Start as many parents as you like.

Everything happens on one event loop, in callbacks that do not wait: receivers `take`, children answer, `_pump` hands
out; what has to wait (sends, deletes, marks) stands in a task of its own.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any, Final

from omni_etl import telemetry
from omni_etl.backoff import Backoff
from omni_etl.clock import Clock
from omni_etl.queue import siding
from omni_etl.registry import RegisteredService, known_until_ms
from omni_etl.supervisor.aside import Aside, Setting
from omni_etl.supervisor.channel import Result, Work
from omni_etl.supervisor.children import Children
from omni_etl.supervisor.circuit import DeadShare
from omni_etl.supervisor.desk import Desk
from omni_etl.supervisor.engines import Engines
from omni_etl.supervisor.held import Held
from omni_etl.supervisor.limits import SupervisorLimits
from omni_etl.supervisor.marks import Marks
from omni_etl.supervisor.opening import Opening
from omni_etl.supervisor.patience import late
from omni_etl.supervisor.receive import Receiver, Source
from omni_etl.supervisor.renew import Renewer
from omni_etl.supervisor.room import room
from omni_etl.supervisor.settle import Settler
from omni_etl.tracker import Mark

TICK_SECONDS: Final = 0.25
RETRY: Final = Backoff(first_seconds=0.5, wait_seconds_max=15.0)


class Supervisor:
    """Holds leases until every service they owe has confirmed."""

    def __init__(
        self, *, engines: Engines, services: list[str], limits: SupervisorLimits, clock: Clock, rng: random.Random
    ) -> None:
        self.engines = engines
        self._limits = limits
        self._clock = clock
        self._rng = rng
        self._log = telemetry.get_logger()
        self._held: set[Held] = set()
        self._registered: list[RegisteredService] = []
        self._heard_at = 0.0  # wall clock
        self._work_id = 0
        self._receiving = True
        self._children: Children | None = None
        self.desks = {name: Desk.of(name, limits, rng) for name in services}
        self._settler = Settler(engines=engines, clock=clock, rng=rng, on_settled=self._drop)
        self._aside = Aside(
            queue=engines.queue,
            registry=engines.registry,
            clock=clock,
            rng=rng,
            held=self._held,
            on_aside=self._set_aside,
        )
        self._marks = Marks(engines)
        self._renewer = Renewer(
            queue=engines.queue, clock=clock, lease_seconds=limits.lease_seconds, held=self._held, on_lapse=self._drop
        )
        self._sends: set[asyncio.Task[None]] = set()

    async def run(self, children: Children) -> None:
        """Work until cancelled; raises what stops the parent (a child that cannot start, a setting that cannot heal)."""
        self._children = children
        dead_share = DeadShare(self._limits.dead_share_max, self._limits.dead_count_min)
        receiver = Receiver(
            engines=self.engines,
            opening=Opening(engines=self.engines, clock=self._clock, dead_share=dead_share),
            intake=self,
            clock=self._clock,
            rng=self._rng,
            lease_seconds=self._limits.lease_seconds,
        )
        sources = [Source("express"), Source("bulk"), *(Source(siding(name), name) for name in self.desks)]
        async with asyncio.TaskGroup() as tasks:
            self._receivers = [tasks.create_task(receiver.run(source)) for source in sources]
            for work in (self._settler.run(), self._aside.run(), self._marks.run(), self._renewer.run(), self._tick()):
                tasks.create_task(work)
            tasks.create_task(children.ping())
            for name in self.desks:
                tasks.create_task(children.keep(name))

    async def stop(self, seconds_max: float) -> dict[str, int]:
        """Take no more, let what is in flight finish, delete what is done, give the rest back; says how much was."""
        self._receiving = False
        for task in self._receivers:
            task.cancel()
        end = self._clock.monotonic() + seconds_max
        while any(desk.in_flight for desk in self.desks.values()) and self._clock.monotonic() < end:
            await self._clock.sleep(0.05)
        await self._settler.drain()
        given_back = [held for held in self._held if not held.settling]
        await self.engines.release(given_back)
        return {"given_back": len(given_back)}

    # What receivers ask and give

    def room(self, source: Source) -> int:
        """None while stopping; else as `room.py` says."""
        if not self._receiving:
            return 0
        return room(source, self._held, self.desks, self._limits, now=self._clock.monotonic())

    def take(self, held: Held) -> None:
        """A lease is ours: put it in line at every service it owes, or settle it at once."""
        self._held.add(held)
        for name in held.missing():
            desk = self.desks.get(name)
            if desk is None:
                self._put_aside(held, name, "sided", "this parent does not run the service")
            elif desk.ready and not desk.wants(held.header):
                held.marks[name] = "done"  # nothing in it for this service
                telemetry.service_done.labels(name).inc()
            else:
                desk.offer(held)
        if not held.missing():
            self._settler.settle(held)
        for desk in self.desks.values():
            self._pump(desk)

    def registered(self) -> list[RegisteredService]:
        """The services of the fleet, as last heard."""
        return self._registered

    def known_until_ms(self) -> int:
        """Of which envelopes we know what they owe: those cut until then."""
        return known_until_ms(self._heard_at)

    def hear(self, registered: list[RegisteredService], *, asked_at: float) -> None:
        """The registry answered what it was asked at this time (seconds, wall clock)."""
        self._registered = registered
        self._heard_at = asked_at

    # What children tell

    def child_ready(self, service: str, types: frozenset[str]) -> None:
        """It takes work now."""
        desk = self.desks[service]
        desk.types = types
        desk.ready = True
        self._pump(desk)
        self.engines.make_room()

    def child_died(self, service: str) -> None:
        """What it held comes back; one that was alone with it counts a failed application."""
        desk = self.desks[service]
        came_back = desk.unseat()
        if desk.circuit.is_open:
            self._engine_failed(desk, "the child died")  # the probe, if there was one, is lost
        if len(came_back) == 1:
            desk.withdraw(came_back[0])
            self._failed(desk, came_back[0], "the child died over it")

    def child_answered(self, service: str, result: Result) -> None:
        """One work ended."""
        desk = self.desks[service]
        held = desk.finish(result.work_id)
        if held is None:
            return
        self._hear_engine(desk, result)
        if held in self._held:
            self._judge(desk, held, result)
        self._pump(desk)

    def _hear_engine(self, desk: Desk, result: Result) -> None:
        """Only what is done says that the engine is there; while it counts as away, nothing else does."""
        if result.outcome == "done":
            if desk.circuit.succeeded():
                self._circuit_changed(desk)
        elif result.outcome == "unavailable":
            self._engine_failed(desk, result.reason)
        elif desk.circuit.is_open:
            self._engine_failed(desk, desk.circuit.reason)

    def _engine_failed(self, desk: Desk, reason: str) -> None:
        if desk.circuit.failed(self._clock.monotonic(), reason):
            self._circuit_changed(desk)

    def _judge(self, desk: Desk, held: Held, result: Result) -> None:
        if result.outcome == "unavailable":
            desk.offer(held, first=True)
        elif result.outcome == "done":
            held.suspects.discard(desk.service)
            desk.dead_share.done(self._clock.monotonic())
            telemetry.service_done.labels(desk.service).inc()
            telemetry.service_erased.labels(desk.service).inc(result.erased)
            self._mark(held, desk.service, "done")
        elif result.outcome == "lapsed":
            desk.offer(held, first=True)  # renewed meanwhile; what was not is dropped where it is handed out
        elif result.outcome == "poison":
            self._failed(desk, held, result.reason)
        else:
            if result.outcome == "conflict":
                self._log.critical("id_conflict", service=desk.service, key=held.key, reason=result.reason)
            self._give_up(desk, held, result.reason)

    def _failed(self, desk: Desk, held: Held, reason: str) -> None:
        """One application failed: again a few times, then it is given up."""
        count = held.failures[desk.service] = held.failures.get(desk.service, 0) + 1
        now = self._clock.monotonic()
        if count < self._limits.applications_max:
            self._log.warning("envelope_retried", service=desk.service, key=held.key, failures=count, reason=reason)
            desk.offer_later(held, now + RETRY.wait_seconds(count, self._rng))
        else:
            self._give_up(desk, held, reason)

    def _give_up(self, desk: Desk, held: Held, reason: str) -> None:
        """Dead letter; unless too many die, which is a fault of ours."""
        if desk.dead_share.may_bury(self._clock.monotonic()):
            self._put_aside(held, desk.service, "dead", reason)
        else:
            self._engine_failed(desk, f"too many envelopes fail: {reason}")
            desk.offer(held, first=True)

    # What follows

    def _pump(self, desk: Desk) -> None:
        """Hand out as much as the child may hold."""
        now = self._clock.monotonic()
        while self._receiving and (held := desk.take(now)) is not None:
            if held not in self._held:
                continue
            if held.deadline <= now:
                self._drop(held)  # a child would give it back at once, and we would hand it out at once
                continue
            self._work_id += 1
            desk.hand_out(self._work_id, held, now)
            sealed = held.lease.envelope
            work = Work(self._work_id, sealed.header, sealed.payload, held.deadline)
            assert self._children is not None
            task = asyncio.create_task(self._children.send(desk.service, work))
            self._sends.add(task)
            task.add_done_callback(self._sends.discard)

    def _mark(self, held: Held, service: str, mark: Mark) -> None:
        held.marks[service] = mark
        held.marked_at = self._clock.monotonic()
        if not held.missing():
            self._settler.settle(held)
        elif held.only is None:
            self._marks.put(held.tracked_as, service, mark, held.owed)

    def _put_aside(self, held: Held, service: str, mark: Mark, reason: str) -> None:
        assert mark != "done", mark
        self._aside.put(Setting(held, service, mark, reason))

    def _set_aside(self, setting: Setting) -> None:
        held = setting.held
        held.in_flight.discard(setting.service)
        if held in self._held:
            self._mark(held, setting.service, setting.mark)

    def _drop(self, held: Held) -> None:
        """The lease ended, or lapsed: it is no longer ours."""
        self._held.discard(held)
        for desk in self.desks.values():
            desk.withdraw(held)
        telemetry.supervisor_leases.set(len(self._held))
        self.engines.make_room()

    async def _tick(self) -> None:
        """Hand out what became due, and side what waited too long for one service beyond the others."""
        while True:
            await self._clock.sleep(TICK_SECONDS)
            telemetry.supervisor_leases.set(len(self._held))
            now = self._clock.monotonic()
            for desk in self.desks.values():
                if desk.is_stuck(now, self._limits.answer_seconds_max):
                    self._log.error("child_stuck", service=desk.service)
                    assert self._children is not None
                    self._children.kill(desk.service)
                self._pump(desk)
            for held, desk in late(self._held, self.desks, self._limits, now=now):
                desk.withdraw(held)
                self._put_aside(held, desk.service, "sided", desk.circuit.reason or "slower than the other services")

    def _circuit_changed(self, desk: Desk) -> None:
        telemetry.service_circuit_open.labels(desk.service).set(int(desk.circuit.is_open))
        if desk.circuit.is_open:
            self._log.error("circuit_opened", service=desk.service, reason=desk.circuit.reason)
        else:
            self._log.info("circuit_closed", service=desk.service)
            self.engines.make_room()

    def state(self) -> dict[str, Any]:
        """What `omni status` shows of this parent."""
        return {"leases": len(self._held), "services": {name: desk.state() for name, desk in self.desks.items()}}
