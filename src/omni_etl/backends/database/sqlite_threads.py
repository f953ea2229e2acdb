"""SQLite in threads of our own: a whole transaction costs one change of threads, where aiosqlite makes some thirteen.

At 40,000 events/s these changes were a third of what webhooks cost (docs/decisions/0012).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Connection, Engine

from omni_etl.backends.database.product import Value


class Threaded:
    """A blocking engine whose transactions run whole, one in each thread."""

    def __init__(self, engine: Engine, *, threads_max: int) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads_max, thread_name_prefix="sqlite")  # none is started before its work

    async def transact(self, work: Callable[[Connection], Value]) -> Value:
        """One transaction. Cancelled, it is waited for: whoever comes next must find it over, either way."""
        return await self._run(lambda: self._transact(work))

    async def dispose(self) -> None:
        """Close connections, in a thread: the last one to close a file tidies it up."""
        await self._run(self._engine.dispose)

    def _transact(self, work: Callable[[Connection], Value]) -> Value:
        with self._engine.begin() as connection:
            return work(connection)

    async def _run(self, call: Callable[[], Value]) -> Value:
        running = asyncio.get_running_loop().run_in_executor(self._threads, call)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            while not running.done():
                await _over(running)
            running.exception()  # looked at: nobody is left to hear of it
            raise


async def _over(running: asyncio.Future[Value]) -> None:
    try:
        await asyncio.wait([running])
    except asyncio.CancelledError:
        return  # told twice; the first stands
