"""Settled: when everything has landed everywhere, and the queue holds nothing any more; or an error where counts differ."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from bench.corpus import Corpus
from bench.row import CountsError
from bench.system import Running
from omni_etl.clock import SystemClock

POLL_SECONDS: Final = 0.2
FAR_SECONDS: Final = 1.0  # between questions to the store, which cost it something, while it is far from done
FAR_SHARE: Final = 0.95
STALLED_SECONDS: Final = 60.0
CLOCK: Final = SystemClock()


@dataclass(frozen=True, slots=True)
class Landed:
    """What was found and what must be, by place; places of services that do not run are left out."""

    found: dict[str, int]
    wanted: dict[str, int]

    @property
    def is_all(self) -> bool:
        """Whether nothing is missing; what is too much raises.

        Raises:
            CountsError: something is there that was never sent, or is there twice.

        """
        for place, count in self.found.items():
            if count > self.wanted[place]:
                raise CountsError(f"{place}: {count} where {self.wanted[place]} were sent")
        return self.found == self.wanted

    @property
    def share(self) -> float:
        """Of the place that has least."""
        return min((self.found[place] / max(1, count) for place, count in self.wanted.items()), default=1.0)


async def settled(system: Running, load: Corpus) -> float:
    """Wait; the monotonic time at which all was there. Cheap questions come first, the store is asked last.

    Raises:
        CountsError: too much landed somewhere, or nothing moved for a minute.

    """
    patience = _Patience()
    while "webhooks" in system.settings.service_names:
        landed = await _at_customer(system, load)
        if landed.is_all:
            break
        await patience.wait(landed, POLL_SECONDS)
    while not (landed := await _in_engines(system, load)).is_all:
        await patience.wait(landed, FAR_SECONDS if landed.share < FAR_SHARE else POLL_SECONDS)
    while await system.envelopes():
        await patience.wait(landed, POLL_SECONDS)
    at = CLOCK.monotonic()
    if not ((await _at_customer(system, load)).is_all and (await _in_engines(system, load)).is_all):
        raise CountsError("what had landed is gone again")
    return at


async def _at_customer(system: Running, load: Corpus) -> Landed:
    if "webhooks" not in system.settings.service_names:
        return Landed({}, {})
    return Landed({"webhook events": await system.receipts()}, {"webhook events": load.events})


async def _in_engines(system: Running, load: Corpus) -> Landed:
    """Types are places of their own: a loss in one cannot hide behind a double in another."""
    services = system.settings.service_names
    found: dict[str, int] = {}
    wanted: dict[str, int] = {}
    if "suppressions" in services:
        found["suppressions"], wanted["suppressions"] = await system.entries.count(), load.suppressions
    if {"metrics", "message_events"} & set(services):
        totals = await system.totals()
        if "message_events" in services:
            found["message_events"], wanted["message_events"] = totals.message_events, load.events
        if "metrics" in services:
            by_type = totals.metrics_by_type
            found |= {f"metrics {name}": by_type.get(name, 0) for name in load.types.keys() | by_type.keys()}
            wanted |= {f"metrics {name}": load.types.get(name, 0) for name in load.types.keys() | by_type.keys()}
    return Landed(found, wanted)


class _Patience:
    """Ends a wait in which nothing moves."""

    def __init__(self) -> None:
        self._last: object = None
        self._moved_at = CLOCK.monotonic()

    async def wait(self, landed: Landed, seconds: float) -> None:
        now = CLOCK.monotonic()
        if landed.found != self._last:
            self._last, self._moved_at = landed.found, now
        if now - self._moved_at > STALLED_SECONDS:
            missing = {place: count - landed.found[place] for place, count in landed.wanted.items()}
            raise CountsError(f"nothing moved for {STALLED_SECONDS:g} s; missing: {missing}")
        await asyncio.sleep(seconds)
