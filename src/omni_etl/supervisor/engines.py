"""Engines: the outside as the parent sees it. The tracker's absence becomes "nothing known", which only costs questions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from omni_etl import telemetry
from omni_etl.errors import UnavailableError
from omni_etl.queue import Lease, Queue, batches
from omni_etl.registry import Registry
from omni_etl.tracker import Progress, Tracker

NOTHING_KNOWN: Final = Progress({}, settled=False)


class Engines:
    """Queue, tracker and registry, and the word that something made room."""

    def __init__(self, *, queue: Queue, tracker: Tracker, registry: Registry) -> None:
        self.queue = queue
        self.tracker = tracker
        self.registry = registry
        self._room = asyncio.Event()
        self._tracker_away = False

    async def ask(self, keys: list[str]) -> list[Progress]:
        """What the tracker remembers; nothing, while it is away."""
        try:
            answer = await self.tracker.ask(keys)
        except UnavailableError as error:
            self.tracker_away(error)
            return [NOTHING_KNOWN] * len(keys)
        self.tracker_answered()
        return answer

    def tracker_away(self, error: UnavailableError) -> None:
        """Say so once."""
        if not self._tracker_away:
            self._tracker_away = True
            telemetry.get_logger().error("tracker_away", reason=str(error))

    def tracker_answered(self) -> None:
        """Say once that it is back."""
        if self._tracker_away:
            self._tracker_away = False
            telemetry.get_logger().info("tracker_back")

    def make_room(self) -> None:
        """Something ended: receivers look again."""
        self._room.set()

    async def room_changed(self, seconds_max: float) -> None:
        """Wait until something ended, or a little."""
        self._room.clear()
        try:
            await asyncio.wait_for(self._room.wait(), seconds_max)
        except TimeoutError:
            return

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give leases back; what the queue does not hear lapses by itself."""
        by_queue: dict[str, list[Lease]] = {}
        for lease in leases:
            by_queue.setdefault(lease.queue_name, []).append(lease)
        try:
            for each in by_queue.values():
                for batch in batches(each, self.queue.limits.batch_count_max):
                    await self.queue.release(batch)
        except UnavailableError:
            return
