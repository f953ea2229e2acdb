"""Service metrics: roll-ups per minute that answer every grouping of the metrics API.

The child counts an envelope and the store adds the counts up, once.
"""

from __future__ import annotations

from omni_etl.clock import Clock, SystemClock
from omni_etl.services.metrics.families import columns
from omni_etl.services.store_service import Keeping, StoreService
from omni_etl.store import Store


class Metrics(StoreService):
    """Every event counts, at least in the family `type`."""

    def __init__(self, store: Store, *, keeping: Keeping | None = None, clock: Clock | None = None) -> None:
        super().__init__("metrics", store, columns, keeping=keeping or Keeping(), clock=clock or SystemClock())
