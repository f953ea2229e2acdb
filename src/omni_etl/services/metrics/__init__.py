"""Service metrics: roll-ups per minute that answer every grouping of the metrics API.

The child counts an envelope and the store adds the counts up, once.
"""

from __future__ import annotations

from typing import Final

from omni_etl.envelope import Envelope
from omni_etl.event import TYPES
from omni_etl.service import Deadline
from omni_etl.services.metrics.families import columns
from omni_etl.store import Store, insert_once

TABLE: Final = "metrics"


class Metrics:
    """Every event counts, at least in the family `type`."""

    name: Final = "metrics"
    types: Final = TYPES

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(self) -> None:
        """Reach the store and its tables."""
        await self._store.open()

    async def apply(self, envelope: Envelope, deadline: Deadline) -> None:
        """Count every event of the envelope, once."""
        await insert_once(
            self._store, TABLE, envelope, columns=lambda: columns(envelope), check_deadline=deadline.check
        )

    async def run(self) -> None:
        """Nothing of its own."""

    async def close(self) -> None:
        """Give back connections."""
        await self._store.close()
