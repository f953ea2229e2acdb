"""Bell: wakes whoever waits in this process when something changed; a ring between looking and waiting is not missed."""

from __future__ import annotations

import asyncio

from omni_etl.clock import Clock


class Bell:
    """Note `rings` before you look, then wait with that number."""

    def __init__(self) -> None:
        self.rings = 0
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Wake everybody."""
        self.rings += 1
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, seen: int, *, clock: Clock, seconds: float) -> None:
        """Until it rang since `seen`, or `seconds` passed on `clock`."""
        if self.rings != seen:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sleeper = asyncio.ensure_future(clock.sleep(seconds))
        self._waiting.add(waiter)
        try:
            await asyncio.wait({waiter, sleeper}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.discard(waiter)
            sleeper.cancel()
