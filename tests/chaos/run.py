"""One run: events for as long as the faults last, then peace, then the judge."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any, Final

from bench.machine import shape
from tests.chaos.faults import Kind, drawn, kinds_for
from tests.chaos.judge import Verdict, judge, owed_now
from tests.chaos.schedule import Schedule, Struck
from tests.chaos.world import QueueKind, World

FAULT_SECONDS_GUESSED: Final = 3.5  # from one to the next, before any figure is known
RATE_MIN: Final = 200.0  # events a second while faults go on: somebody must show that things work again
PACE_SECONDS: Final = 0.1
LOOK_SECONDS: Final = 2.0
STALLED_SECONDS_MAX: Final = 300.0
FINISH_SECONDS_MAX: Final = 900.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for; no count of faults: each kind once."""

    queue: QueueKind
    events: int
    faults: int | None
    seed: int


@dataclass(slots=True)
class Run:
    """What was done and found."""

    wish: Wish
    events: int = 0
    struck: list[Struck] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    load_seconds: float = 0.0
    settle_seconds: float = 0.0
    restarts: int = 0
    load_average: float = 0.0  # of the machine, of the last quarter of an hour
    kinds_left_out: list[str] = field(default_factory=list)
    machine: dict[str, str] = field(default_factory=dict)
    directory: str = ""  # where its files are, if they were kept

    @property
    def kinds(self) -> list[str]:
        """That happened."""
        return sorted({each.kind for each in self.struck})

    @property
    def ok(self) -> bool:
        """Everything agrees, and everything came back."""
        return self.verdict.ok

    def as_dict(self) -> dict[str, Any]:
        """The last line."""
        verdict = self.verdict
        return {
            "queue": self.wish.queue,
            "seed": self.wish.seed,
            "events": self.events,
            "faults": len(self.struck),
            "kinds": len(self.kinds),
            "lost": verdict.lost,
            "doubled": verdict.doubled,
            "differ": sum(not each.ok for each in verdict.lines) + len(verdict.wrong),
            "webhook_batches": verdict.webhook_batches,
            "webhook_repeats": verdict.webhook_repeats,
            "dead_letters_redriven": verdict.dead_letters,
            "seconds": round(self.load_seconds + self.settle_seconds, 1),
        }


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who looks on."""

    planned: Callable[[int], None] = lambda _faults: None
    struck: Callable[[Struck], None] = lambda _struck: None
    moved: Callable[[str, int, int], None] = lambda _stage, _done, _total: None


def live(wish: Wish, watcher: Watcher) -> Run:
    """Open the world, break it, and judge. The directory stays where something differs."""
    world = World(wish.queue, seed=wish.seed)
    run = Run(wish, directory=str(world.directory))
    keeps = True
    try:
        world.open()
        _live(world, run, watcher)
        keeps = not run.ok
    except KeyboardInterrupt:
        keeps = False
        raise
    finally:
        world.close(keeps=keeps)
    run.directory = run.directory if keeps else ""
    return run


def _live(world: World, run: Run, watcher: Watcher) -> None:
    wish, rng = run.wish, random.Random(run.wish.seed)
    kinds = kinds_for(world)
    order = drawn(kinds, wish.faults or len(kinds), rng)
    run.kinds_left_out = [each for each in (world.disks.why_not, world.far.why_not) if each]
    watcher.planned(len(order))
    began = _now()
    schedule = Schedule(world, rng, on_step=watcher.struck)
    _strike(world, schedule, order, wish, watcher)
    run.struck = schedule.struck
    expected = world.load.finish(wish.events, seconds_max=FINISH_SECONDS_MAX)
    run.load_seconds = _now() - began
    run.events = world.load.accepted
    dead = _settle(world, run.events, watcher)
    run.settle_seconds = _now() - began - run.load_seconds
    watcher.moved("judged", 0, 1)
    run.verdict = judge(world, expected, run.events)
    run.verdict.dead_letters = dead
    run.verdict.wrong += world.load.wrong + [_told(each) for each in run.struck if each.back_seconds is None]
    run.restarts = world.restarts
    run.load_average, run.machine = os.getloadavg()[2], shape()
    watcher.moved("judged", 1, 1)


def _strike(world: World, schedule: Schedule, order: Sequence[Kind], wish: Wish, watcher: Watcher) -> None:
    """Faults in this thread, and beside it whoever lets events through as far as the faults have come."""
    over = Event()
    pacing = Thread(target=_pace, args=(world, schedule, len(order), wish.events, over), daemon=True)
    showing = Thread(target=_show, args=(world, watcher, wish.events, over), daemon=True)
    pacing.start()
    showing.start()
    try:
        schedule.run(order)
    finally:
        over.set()
        pacing.join()
        showing.join()


def _pace(world: World, schedule: Schedule, faults: int, events: int, over: Event) -> None:
    allowed, began, at = 0.0, _now(), _now()
    while not over.wait(PACE_SECONDS):
        now = _now()
        each = max(FAULT_SECONDS_GUESSED, (now - began) / max(1, schedule.begun)) if schedule.begun < faults else 1.0
        left_seconds = max(1.0, (faults - schedule.begun) * each)
        rate = max(RATE_MIN, (events - allowed) / left_seconds)
        allowed += min(rate, 2 * events / (faults * FAULT_SECONDS_GUESSED)) * (now - at)
        at = now
        world.load.allow(int(allowed))


def _show(world: World, watcher: Watcher, events: int, over: Event) -> None:
    while not over.wait(LOOK_SECONDS):
        watcher.moved("accepted", world.load.accepted, events)


def _settle(world: World, events: int, watcher: Watcher) -> int:
    """Peace, until nothing is on its way or nothing moves; what waits for its next try, tries at once. Answers dead letters."""
    dead, before, moved_at = 0, None, _now()
    while True:
        try:
            status = world.system.status()
            owed = owed_now(status)
            stored, counted = status["store"]["message_events"], status["store"]["metrics"]
            dead += _redrive(world, status)
        except (AssertionError, KeyError, OSError) as error:
            owed, stored, counted = {"an answer": 1}, -1, repr(error)
        watcher.moved("settled", stored, events)
        if not any(owed.values()) and min(stored, counted) >= events:
            return dead
        now, seen = _now(), (owed, stored, counted)
        moved_at = now if seen != before else moved_at
        if now - moved_at > STALLED_SECONDS_MAX:
            return dead
        before = seen
        if owed.get("webhook batches that wait"):
            world.system.try_again()
        time.sleep(LOOK_SECONDS)  # noqa: TID251 real processes have real time


def _redrive(world: World, status: dict[str, Any]) -> int:
    """A child that is killed five times over one envelope makes it a dead letter, as it should: the operator puts it back."""
    letters = status["fleet"]["dead_letters"]
    for service in {each["service"] for each in letters}:
        world.command("dead-letters", "redrive", service)
    return len(letters)


def _told(struck: Struck) -> str:
    return f"{struck.kind}: not back in time. {struck.trouble}"


def _now() -> float:
    return time.monotonic()  # noqa: TID251 real processes have real time
