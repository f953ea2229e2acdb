"""Insert where absent: ask the ledger and insert under one lock, which only the one process of a directory can promise.

An insert that names the keys of its envelopes (`omni_absent`) is written if none of them has a marker in the table, and
refused as a whole if one has. Two inserts that share a key go one after the other, so whoever comes when, each key is
written once; a killed host leaves a part that stands or none, and the next one reads which.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Claims:
    """Which keys of which tables are being decided; for any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: set[tuple[str, str]] = set()

    @contextmanager
    def holding(self, table: str, keys: Sequence[str]) -> Iterator[None]:
        """Nobody else holds one of these keys meanwhile; all are taken at once, so nobody waits with something in hand."""
        wanted = {(table, key) for key in keys}
        with self._changed:
            self._changed.wait_for(lambda: self._held.isdisjoint(wanted))
            self._held |= wanted
        try:
            yield
        finally:
            with self._changed:
                self._held -= wanted
                self._changed.notify_all()
