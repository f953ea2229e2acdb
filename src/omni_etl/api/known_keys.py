"""Known keys: what the database said of a key a moment ago, so that a thousand requests a second ask it once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from omni_etl.clock import Clock
from omni_etl.keys import ApiKey, Keys, digest

SAID_SECONDS_MAX: Final = 1.0  # a revoked key opens nothing after this and the time of one look-up
SAID_COUNT_MAX: Final = 10_000  # guesses come without end, and each takes a place


@dataclass(frozen=True, slots=True)
class _Said:
    key: ApiKey | None
    until: float


class KnownKeys:
    """Remembers digests, never a secret. Many who ask for one key at the same time share one look-up."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._said: dict[bytes, _Said] = {}
        self._asking: dict[bytes, asyncio.Task[ApiKey | None]] = {}

    async def verify(self, secret: str) -> ApiKey | None:
        """As `Keys.verify` had it at most so long ago.

        Raises:
            UnavailableError: the database is away, and has not spoken of this key just now.

        """
        hashed = digest(secret)
        said = self._said.get(hashed)
        if said is not None and self._clock.monotonic() < said.until:
            return said.key
        asking = self._asking.get(hashed)
        if asking is None:
            asking = self._asking[hashed] = asyncio.create_task(self._ask(hashed, secret))
        return await asyncio.shield(asking)  # whoever goes takes nobody else's answer along

    async def _ask(self, hashed: bytes, secret: str) -> ApiKey | None:
        until = self._clock.monotonic() + SAID_SECONDS_MAX  # from the question on: the answer may be that old
        try:
            key = await self._keys.verify(secret)
        finally:
            del self._asking[hashed]
        if len(self._said) >= SAID_COUNT_MAX:
            self._said.clear()
        self._said[hashed] = _Said(key, until)
        return key
