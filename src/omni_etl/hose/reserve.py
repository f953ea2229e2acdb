"""Reserve: room on the disk that is held in good times and let go when the disk is full.

Making room on a full disk takes room itself: cuts must be written before events may go, and the memory of requests
before segments may. Nothing new is accepted until the reserve is held again, so that it is spent on making room only.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

SPOOL_RESERVE_NAME: Final = "reserve"
REQUESTS_RESERVE_NAME: Final = "requests.reserve"
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT}


class Reserve:
    """A file that is worth its size and nothing else. It stays over a restart."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self.is_held = False

    def hold(self) -> bool:
        """Whether it is held now; taken, if the disk has room for all of it."""
        if self.is_held:
            return True
        try:
            file = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, self._size_bytes)
            finally:
                os.close(file)
        except OSError:
            self.release()
            return False
        self.is_held = True
        return True

    def release(self) -> None:
        """Let go of the room."""
        self.is_held = False
        with contextlib.suppress(OSError):  # not there, or the disk is worse than full
            self._path.unlink()


def is_full(error: OSError) -> bool:
    """Whether this says that there is no room, and not that the disk fails."""
    return error.errno in _NO_ROOM
