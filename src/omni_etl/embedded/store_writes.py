"""What the engine keeps to itself: a write that the disk refused is counted, and no statement or merge hears of it (chDB 26.5, seen).

A merge on a disk that became full then commits a part of short and empty files in place of those that it was made of, and an
insert may answer OK. So the process ends when the count grows, before an insert is answered: at its next start the engine sets
what is short aside and takes back the parts that were merged, which it keeps for `old_parts_lifetime` (schema).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from omni_etl import telemetry

EXIT_CODE_NOT_WRITTEN: Final = 1
LOOK_SECONDS: Final = 1.0  # far less than merged parts are kept


class FailedWrites:
    """Of one engine. `count` asks it how many there were since its start; from any thread, but for `watch`, which has its own."""

    def __init__(self, directory: Path) -> None:
        self._log = telemetry.get_logger(directory=str(directory))
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def check(self, count: Callable[[], int]) -> None:
        """Return only if there were none."""
        if failed := count():
            self._log.critical("store_write_failed", count=failed)
            os._exit(EXIT_CODE_NOT_WRITTEN)

    def watch(self, connect: Callable[[], Callable[[], int]]) -> None:
        """Check from now on, in a thread: nobody waits for merges."""

        def look() -> None:
            count = connect()
            while not self._ending.wait(LOOK_SECONDS):
                self.check(count)

        self._thread = threading.Thread(target=look, name="failed writes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Watch no more."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
