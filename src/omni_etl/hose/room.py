"""Room: how many bytes of requests may be in memory at the same time, from their first byte to their fsync."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from omni_etl.errors import SpoolFullError


class Room:
    """A count of bytes with a limit. One request alone always finds room, however long."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held_bytes = 0

    @contextmanager
    def hold(self, size_bytes: int) -> Iterator[None]:
        """Hold room for so many bytes.

        Raises:
            SpoolFullError: others hold it.

        """
        if self._held_bytes and self._held_bytes + size_bytes > self._bytes_max:
            raise SpoolFullError("too many requests wait for the disk", retry_after_seconds=1)
        self._held_bytes += size_bytes
        try:
            yield
        finally:
            self._held_bytes -= size_bytes
