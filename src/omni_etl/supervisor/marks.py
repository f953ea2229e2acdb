"""Marks: tell the tracker who is done. A mark that is lost costs another parent a question, never an event."""

from __future__ import annotations

import asyncio
from typing import Final

from omni_etl.supervisor.engines import Engines
from omni_etl.tracker import Mark

WAITING_MAX: Final = 10_000  # beyond that the tracker is away for long, and its marks are worth less than our memory
TOGETHER_MAX: Final = 32


class Marks:
    """Passes marks on, several at a time."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._waiting: asyncio.Queue[tuple[str, str, Mark, frozenset[str]]] = asyncio.Queue(WAITING_MAX)

    def put(self, key: str, service: str, mark: Mark, owed: frozenset[str]) -> None:
        """Pass this on soon."""
        if not self._waiting.full():
            self._waiting.put_nowait((key, service, mark, owed))

    async def run(self) -> None:
        """Pass on for ever; cancelled at stop."""
        while True:
            taken = [await self._waiting.get()]
            while len(taken) < TOGETHER_MAX and not self._waiting.empty():
                taken.append(self._waiting.get_nowait())
            await self._engines.mark(taken)
