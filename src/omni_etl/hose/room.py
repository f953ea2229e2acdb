"""Room: how many bytes of requests may be in memory at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from omni_etl.errors import SpoolFullError


class Room:
    """A count of bytes with a limit. One request alone always finds room, however long."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.held_bytes = 0
        self.freed = asyncio.Event()

    @contextmanager
    def hold(self, size_bytes: int) -> Iterator[Held]:
        """Hold room for so many bytes.

        Raises:
            SpoolFullError: others hold it.

        """
        held = Held(self)
        held.change(size_bytes)
        try:
            yield held
        finally:
            held.change(0)


class Held:
    """What one request holds of a room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._bytes = 0

    def change(self, size_bytes: int) -> None:
        """Hold so many bytes instead. Less is always granted.

        Raises:
            SpoolFullError: others hold the room.

        """
        if not self._changed(size_bytes):
            raise SpoolFullError("too many requests wait for the disk", retry_after_seconds=1)

    async def wait_for(self, size_bytes: int) -> None:
        """Hold so many bytes instead, as soon as others leave room.

        One at a time may wait, and those that hold room must not wait for it: else they wait for each other.
        """
        while not self._changed(size_bytes):
            self._room.freed.clear()
            await self._room.freed.wait()

    def _changed(self, size_bytes: int) -> bool:
        others = self._room.held_bytes - self._bytes
        if size_bytes > self._bytes and others and others + size_bytes > self._room.bytes_max:
            return False
        if size_bytes < self._bytes:
            self._room.freed.set()
        self._room.held_bytes = others + size_bytes
        self._bytes = size_bytes
        return True
