"""Alarm: wait until someone rings or a time has come, whichever is first."""

from __future__ import annotations

import asyncio

from omni_etl.clock import Clock


class Alarm:
    """One waiter, any number of ringers. A ring before the wait is not lost."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake the waiter, now or when it next waits."""
        self._rung.set()

    async def wait(self, *, until: float | None) -> None:
        """Until the next ring, or this moment of the monotonic clock; None waits for a ring only."""
        if until is None:
            await self._rung.wait()
        elif not self._rung.is_set() and (seconds := until - self._clock.monotonic()) > 0:
            await self._race(seconds)
        else:
            await self._clock.sleep(0)
        self._rung.clear()

    async def _race(self, seconds: float) -> None:
        ring = asyncio.create_task(self._rung.wait())
        timer = asyncio.create_task(self._clock.sleep(seconds))
        try:
            await asyncio.wait((ring, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ring.cancel()
            timer.cancel()
            await asyncio.gather(ring, timer, return_exceptions=True)
