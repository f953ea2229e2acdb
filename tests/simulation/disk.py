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

DEATHS: Final = (0.0, 0.0, 0.003, 0.01)


class Disks:
    """Stands where `hose/segments.py` has `os`; whose disk it is, the calling process tells."""

    def __init__(self, faults: Faults, *, on_death: Callable[..., None]) -> None:
        self._faults = faults
        self._on_death = on_death
        self._synced: dict[int, int] = {}  # inode → bytes that survive
        self.full: set[str] = set()  # processes whose disk has no room

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def pwrite(self, file: int, content: Any, offset: int) -> int:
        """May be refused, or write a part."""
        self._trouble("disk refused a write")
        if len(content) > 1 and self._faults.happens("disk wrote a part"):
            content = content[: self._faults.rng.randrange(1, len(content))]
        written = os.pwrite(file, content, offset)
        self._synced.setdefault(os.fstat(file).st_ino, 0)
        return written

    def fdatasync(self, file: int) -> None:
        """May fail; then nothing is known of what was written."""
        self._trouble("disk failed a sync")
        self._note(file)
        self._trouble("")

    def fsync(self, file: int) -> None:
        """Of a directory, or of a file that was cut off."""
        self._trouble("")
        self._note(file)

    def lose_power(self, directory: Path, rng: random.Random) -> None:
        """What no sync promised is lost, is there, or is torn."""
        for path in sorted(directory.glob("*.spool")):
            size = path.stat().st_size
            synced = min(size, self._synced.get(path.stat().st_ino, 0))
            os.truncate(path, rng.randrange(synced, size + 1))

    def _trouble(self, what: str) -> None:
        for fate, power in (("disk power lost", True), ("disk killed at a call", False)):
            if self._faults.happens(fate, shares=DEATHS):
                self._on_death(PROCESS.get(), power=power)
                raise PowerLostError
        if PROCESS.get() in self.full:
            self._faults.counted["disk full"] += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if what and self._faults.happens(what):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _note(self, file: int) -> None:
        found = os.fstat(file)
        self._synced[found.st_ino] = found.st_size
