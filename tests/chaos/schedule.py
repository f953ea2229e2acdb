"""The schedule: one fault after another, some before the last is mended, and how long each took to be forgotten."""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.faults import Kind
from tests.chaos.witness import witness
from tests.chaos.world import World

TOGETHER_MAX: Final = 4
TOGETHER_SHARE: Final = 0.75  # of the faults, that may begin before the last is mended
PAUSE_SECONDS: Final = (0.2, 1.5)
BACK_SECONDS_MAX: Final = 240.0
LOOK_SECONDS: Final = 0.2


@dataclass(slots=True)
class Struck:
    """One fault that happened. `beside` is how many others were open when it began."""

    kind: str
    beside: int
    cause_seconds: float = 0.0
    back_seconds: float | None = None  # after the cause was gone; None: not within the bound
    accepted: int = 0  # events, from its beginning until it was back
    trouble: str = ""


@dataclass(slots=True)
class Schedule:
    """Run by one thread; each fault has one of its own."""

    world: World
    rng: random.Random
    on_step: Callable[[Struck], None] = lambda _struck: None
    struck: list[Struck] = field(default_factory=list)
    begun: int = 0
    _open: list[Kind] = field(default_factory=list)
    _turn: threading.Condition = field(default_factory=threading.Condition)
    _ending: threading.Event = field(default_factory=threading.Event)

    def run(self, kinds: Sequence[Kind]) -> None:
        """All of these; return when the last is forgotten. What is interrupted mends what it broke first."""
        waiting, threads = list(kinds), []
        try:
            while waiting and not self.world.load.wrong:  # without producers nobody would show that things work again
                self._ending.wait(self.rng.uniform(*PAUSE_SECONDS))
                kind = self._next(waiting, together=self.rng.random() < TOGETHER_SHARE)
                rng = random.Random(self.rng.random())
                thread = threading.Thread(target=self._strike, args=(kind, rng), daemon=True)
                thread.start()
                threads.append(thread)
                self.begun += 1
        except BaseException:
            self._ending.set()
            raise
        finally:
            for thread in threads:
                thread.join()

    def _next(self, waiting: list[Kind], *, together: bool) -> Kind:
        """Take the first that may begin; whatever wants to be alone is not passed by."""

        def first() -> Kind | None:
            if len(self._open) >= (TOGETHER_MAX if together else 1):
                return None
            if waiting[0].alone:
                return None if self._open else waiting[0]
            places = {each.place for each in self._open}
            is_free = not any(each.alone for each in self._open)
            return next((each for each in waiting if is_free and not each.alone and each.place not in places), None)

        with self._turn:
            while (kind := first()) is None:
                self._turn.wait(LOOK_SECONDS)  # not longer, so that Ctrl-C is heard
            waiting.remove(kind)
            self._open.append(kind)
            return kind

    def _strike(self, kind: Kind, rng: random.Random) -> None:
        struck = Struck(kind.name, beside=len(self._open) - 1)
        accepted = self.world.load.accepted
        began = _now()
        try:
            kind.hit(self.world, rng)
            gone = _now()
            struck.cause_seconds = gone - began
            self._watch(kind, struck, gone)
        except BaseException:  # noqa: BLE001 a fault that could not be made is the run's failure, told in the end
            struck.trouble = traceback.format_exc()
        finally:
            struck.accepted = self.world.load.accepted - accepted
            with self._turn:
                self._open.remove(kind)
                self.struck.append(struck)
                self._turn.notify_all()
            self.on_step(struck)

    def _watch(self, kind: Kind, struck: Struck, gone: float) -> None:
        missing = [witness(self.world, name) for name in kind.watched]
        while not self._ending.is_set():
            missing = [each for each in missing if not each.is_back()]
            seconds = _now() - gone
            if not missing:
                struck.back_seconds = seconds
                return
            if seconds > BACK_SECONDS_MAX:
                return
            self._ending.wait(LOOK_SECONDS)


def _now() -> float:
    return time.monotonic()  # noqa: TID251 real processes have real time
