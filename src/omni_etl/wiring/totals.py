"""How much the store holds: what `omni status` and the demo read back."""

from __future__ import annotations

from dataclasses import dataclass

from omni_etl import sql
from omni_etl.store import Store


@dataclass(frozen=True, slots=True)
class StoreTotals:
    """Counts, from the tables themselves."""

    message_events: int
    metrics_by_type: dict[str, int]


async def read_totals(store: Store) -> StoreTotals:
    """Count rows and add up the roll-ups."""
    [(message_events,)] = await store.query(sql.query("message_events_count"))
    by_type = await store.query(sql.query("metrics_by_type"))
    return StoreTotals(int(message_events), {str(name): int(count) for name, count in by_type})
