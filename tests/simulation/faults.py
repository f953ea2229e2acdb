"""Faults: what may go wrong at a call to something outside, how often, and who dies when. All from one seed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from tests.simulation.virtual_loop import VirtualLoop

from omni_etl.errors import UnavailableError

T = TypeVar("T")

KINDS: Final = ("refused", "answer lost", "late", "never", "slow", "repeated")
SHARES: Final = (0.0, 0.0, 0.01, 0.04, 0.12)
QUICK_SECONDS: Final = 0.004
SLOW_SECONDS: Final = 25.0
LATE_SECONDS: Final = (2.0, 40.0, 120.0)  # the last beyond what a deduplication token is remembered for


class LoopClock:
    """A machine's clock. `now` may jump; `monotonic` never does."""

    def __init__(self, loop: VirtualLoop, *, began_at: float) -> None:
        self._loop = loop
        self._began_at = began_at
        self.ahead_seconds = 0.0

    def now(self) -> float:
        """As this machine believes."""
        return self._began_at + self._loop.elapsed + self.ahead_seconds

    def monotonic(self) -> float:
        """Since the beginning of the run."""
        return self._loop.elapsed

    async def sleep(self, seconds: float) -> None:
        """On the loop's time."""
        await asyncio.sleep(seconds)


class Faults:
    """Draws from the seed; each kind of each engine has a share of its own in a run, often none."""

    def __init__(self, rng: random.Random, loop: VirtualLoop) -> None:
        self.rng = rng
        self.loop = loop
        self.on = True
        self.away: dict[str, float] = {}  # engine → until when it is away
        self.services_away: set[str] = set()  # each without the engine that it alone has
        self.counted: Counter[str] = Counter()
        self.over = False  # the run is judged: nothing may be changed any more
        self.under_way = 0  # what still happens although nobody waits for it
        self._shares: dict[tuple[str, str], float] = {}

    def happens(self, what: str, *, shares: tuple[float, ...] = SHARES) -> bool:
        """Whether this goes wrong now; counted if so."""
        if not self.on or self.rng.random() >= self.share(what, shares=shares):
            return False
        self.counted[what] += 1
        return True

    def share(self, what: str, *, shares: tuple[float, ...] = SHARES) -> float:
        """How often this goes wrong in this run."""
        engine, _, kind = what.rpartition(" ")
        known = self._shares.get((engine, kind))
        if known is None:
            known = self._shares[engine, kind] = self.rng.choice(shares)
        return known

    async def call(
        self, engine: str, effect: Callable[[], Awaitable[T]], *, may: tuple[str, ...] = KINDS, error: Any = None
    ) -> T:
        """One call to an engine, with what may befall it."""
        if self.over:
            raise asyncio.CancelledError
        error = error or (lambda fate: UnavailableError(f"{engine}: {fate}, as this seed wants it"))
        await asyncio.sleep(self.rng.expovariate(1 / QUICK_SECONDS))
        fate = self._fate(engine, may)
        if fate == "slow":
            await asyncio.sleep(self.rng.random() * SLOW_SECONDS)
        elif fate in {"repeated", "late"}:
            self._later(effect)
        if fate in {"refused", "late", "never"}:
            await asyncio.sleep(self.rng.random() * self.rng.choice((0.1, 20.0)))
            raise error(fate)
        answer = await effect()
        await asyncio.sleep(self.rng.expovariate(1 / QUICK_SECONDS))
        if fate == "answer lost":
            raise error(fate)
        return answer

    def _fate(self, engine: str, may: tuple[str, ...]) -> str:
        if not self.on:
            return ""
        if self.away.get(engine, 0.0) > self.loop.elapsed:
            self.counted[f"{engine} away"] += 1
            return "refused"
        return next((kind for kind in may if self.happens(f"{engine} {kind}")), "")

    def _later(self, effect: Callable[[], Awaitable[Any]]) -> None:
        """It happens although nobody waits for it any more, also where who asked is dead by then."""
        self.under_way += 1
        self.loop.start("world", self._happen(effect, self.rng.random() * self.rng.choice(LATE_SECONDS)))

    async def _happen(self, effect: Callable[[], Awaitable[Any]], seconds: float) -> None:
        await asyncio.sleep(seconds)
        try:
            await effect()
        except Exception:  # noqa: BLE001 nobody hears of it
            return
        finally:
            self.under_way -= 1
