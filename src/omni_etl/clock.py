"""The only code that reads time or sleeps, so that tests own both."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What time it is. `now` may jump (the wall), `monotonic` never goes back (deadlines, ages)."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait at least `seconds` without holding the loop."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        return time.time()  # noqa: TID251 the one place

    def monotonic(self) -> float:
        """Seconds since boot or so."""
        return time.monotonic()  # noqa: TID251 the one place

    async def sleep(self, seconds: float) -> None:
        """Wait at least `seconds` without holding the loop."""
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that moves only when told: `advance` wakes whoever's time has come. Shipped for tests and simulation."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._start = now
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Seconds since the epoch, as far as it was advanced."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """Seconds it was advanced."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Wait until someone advanced the clock by `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed + seconds, waiter))
        await waiter

    def advance(self, seconds: float) -> None:
        """Move on; sleepers whose time has come wake at the loop's next turn."""
        self._elapsed += seconds
        due = [waiter for at, waiter in self._sleepers if at <= self._elapsed]
        self._sleepers = [(at, waiter) for at, waiter in self._sleepers if at > self._elapsed]
        for waiter in due:
            if not waiter.done():
                waiter.set_result(None)
