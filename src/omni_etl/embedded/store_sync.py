"""What the engine leaves out: a part's *name* is durable only once the directory that holds it was synced.

ClickHouse fsyncs a part before and after it renames it, but never the directory above. Between the rename and our sync
anyone may read the part, and a power loss may still take it. So nothing that was read is answered before it is durable:
a reader syncs what others have not synced yet. After a sync that failed nobody can know what the disk holds, and the
process ends; the next one syncs everything before its first answer.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from omni_etl import telemetry

EXIT_CODE_NOT_SYNCED: Final = 1

# Where tables, databases and parts have their names; what is in a part the engine syncs.
_LEVELS: Final = ("metadata", "metadata/*", "data", "data/*", "store", "store/*", "store/*/*")


class DirectorySync:
    """Of one data directory; for any thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._inserting: Counter[str] = Counter()
        self._log = telemetry.get_logger(directory=str(directory))

    def sync_all(self) -> None:
        """Every directory above the parts: at the start, and after statements that make or move tables."""
        found = [each for level in _LEVELS for each in self._directory.glob(level) if each.is_dir()]
        self._sync([str(each) for each in (self._directory.parent, self._directory, *found)])

    def sync_what_inserts_left(self) -> None:
        """For a reader, before it answers: what it saw of inserts that are not through yet."""
        with self._lock:
            paths = list(self._inserting)
        self._sync(paths)

    @contextmanager
    def inserting(self, paths: Sequence[str]) -> Iterator[None]:
        """Around an insert into the table at `paths`; also one that fails may have made its part."""
        with self._lock:
            self._inserting.update(paths)
        try:
            yield
        finally:
            self._sync(paths)
            with self._lock:
                self._inserting.subtract(paths)
                self._inserting = +self._inserting

    def _sync(self, paths: Sequence[str]) -> None:
        try:
            for path in paths:
                _sync_directory(path)
        except OSError as error:
            self._log.critical("store_sync_failed", reason=str(error))
            os._exit(EXIT_CODE_NOT_SYNCED)


def _sync_directory(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return  # of a table that was dropped
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
