"""Tidying: the outbox is kept small beside the work, not by it, however many attempts an envelope leads to."""

from __future__ import annotations

from typing import Final

from omni_etl import telemetry
from omni_etl.clock import Clock
from omni_etl.errors import UnavailableError
from omni_etl.outbox import Outbox

PAUSE_SECONDS: Final = 1.0


class Tidying:
    """A step a second. `run` ends only when cancelled."""

    def __init__(self, *, outbox: Outbox, clock: Clock) -> None:
        self._outbox = outbox
        self._clock = clock
        self._log = telemetry.get_logger(service="webhooks")

    async def run(self) -> None:
        """An outbox that is away is said to be by who delivers from it."""
        while True:
            try:
                await self._outbox.tidy()
            except UnavailableError:
                pass
            except Exception:  # noqa: BLE001 the loop: what is not tidied holds up nobody
                self._log.exception("service_failed")
            await self._clock.sleep(PAUSE_SECONDS)
