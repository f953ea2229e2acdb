"""A service whose whole effect is one insert into one table of the store, of the same name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from omni_etl.envelope import Envelope
from omni_etl.event import TYPES
from omni_etl.service import Deadline
from omni_etl.store import Store, insert_once


class StoreService:
    """`columns` makes the rows of an envelope, marker row included; it runs only where they are needed."""

    types = TYPES

    def __init__(self, name: str, store: Store, columns: Callable[[Envelope], Any]) -> None:
        self.name = name
        self._store = store
        self._columns = columns

    async def open(self) -> None:
        """Reach the store and its tables."""
        await self._store.open()

    async def apply(self, envelope: Envelope, deadline: Deadline) -> None:
        """Put the envelope's rows into the table, once."""
        await insert_once(
            self._store, self.name, envelope, columns=lambda: self._columns(envelope), check_deadline=deadline.check
        )

    async def run(self) -> None:
        """Nothing of its own."""

    async def close(self) -> None:
        """Give back connections."""
        await self._store.close()
