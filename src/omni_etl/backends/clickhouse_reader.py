"""Reader: asks a store that may be away at the start, and is connected to when it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.errors import SettingsError, UnavailableError


class StoreReader:
    """On a store of its own; None where settings name none, which is answered as one that is away."""

    def __init__(self, store: ClickHouseStore | None) -> None:
        self._store = store
        self._is_open = False
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Connect; a store that is away is connected to when it is asked.

        Raises:
            SettingsError: rejected credentials, or a schema that is not this program's.

        """
        with suppress(UnavailableError):
            await self._opened()

    async def close(self) -> None:
        """Give back connections."""
        self._is_open = False
        if self._store is not None:
            await self._store.close()

    async def _ask(self, statement: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        try:
            store = await self._opened()
        except SettingsError as error:  # of a store that changed since the start; the start itself was told
            raise UnavailableError(str(error)) from error
        return await store.read(statement, parameters)

    async def _opened(self) -> ClickHouseStore:
        if self._store is None:
            raise UnavailableError("no store is named")
        async with self._opening:
            if not self._is_open:
                await self._store.open()
                self._is_open = True
        return self._store
