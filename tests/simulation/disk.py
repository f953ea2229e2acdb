"""The disks under the hoses: real files, whose power fails. What was not synced is then lost, or torn; full is an answer."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.simulation.faults import Faults
from tests.simulation.virtual_loop import PROCESS, PowerLostError

DEATHS: Final = (0.0, 0.0, 0.005, 0.02)


class Disks:
    """Stands where `hose/segments.py` has `os`; whose disk it is, the calling process tells."""

    def __init__(self, faults: Faults, *, on_death: Callable[..., None]) -> None:
        self._faults = faults
        self._on_death = on_death
        self._synced: dict[int, int] = {}  # inode → bytes that survive
        self.full: set[str] = set()  # processes whose disk has no room

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        """A new file has nothing that survives, whatever had its place before."""
        file = os.open(path, flags, mode)
        if flags & os.O_EXCL:
            self._synced[os.fstat(file).st_ino] = 0
        return file

    def pwrite(self, file: int, content: Any, offset: int) -> int:
        """May be refused, or write a part."""
        self._trouble("disk refused a write")
        if len(content) > 1 and self._faults.happens("disk wrote a part"):
            content = content[: self._faults.rng.randrange(1, len(content))]
        return os.pwrite(file, content, offset)

    def fdatasync(self, file: int) -> None:
        """May fail; then nothing is known of what was written."""
        self._trouble("disk failed a sync")
        self._note(file)
        self._die()

    def fsync(self, file: int) -> None:
        """Of a directory, or of a file that was cut off."""
        self._die()
        if self._faults.happens("disk failed a sync"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._note(file)

    def lose_power(self, directory: Path, rng: random.Random) -> None:
        """What no sync promised is lost, is there, or is torn."""
        for path in sorted(directory.glob("*.spool")):
            size = path.stat().st_size
            synced = min(size, self._synced.get(path.stat().st_ino, 0))
            os.truncate(path, rng.randrange(synced, size + 1))

    def _trouble(self, what: str) -> None:
        self._die()
        if PROCESS.get() in self.full:
            self._faults.counted["disk full"] += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._faults.happens(what):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _die(self) -> None:
        for fate, power in (("disk power lost", True), ("disk killed at a call", False)):
            if self._faults.happens(fate, shares=DEATHS):
                self._on_death(PROCESS.get(), power=power)
                raise PowerLostError

    def _note(self, file: int) -> None:
        found = os.fstat(file)
        self._synced[found.st_ino] = found.st_size
