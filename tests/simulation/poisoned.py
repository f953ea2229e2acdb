"""A service whose code is broken now and then: what it does not apply is no worse for it once the code is mended."""

from __future__ import annotations

from tests.simulation.faults import Faults

from omni_etl.envelope import Envelope
from omni_etl.errors import PoisonError, UnavailableError
from omni_etl.service import Deadline, Service


class Poisoned:
    """The real service, behind a fault of its own code."""

    def __init__(self, service: Service, faults: Faults) -> None:
        self.name = service.name
        self.types = service.types
        self.open = service.open
        self.run = service.run
        self.close = service.close
        self._service = service
        self._faults = faults

    async def apply(self, envelope: Envelope, deadline: Deadline) -> None:
        """Some envelopes fail each time while the code is broken; all of them while the service's own engine is away."""
        if self.name in self._faults.services_away:
            raise UnavailableError("its engine is away, as this test wants it")
        poisonous = self._faults.share(f"{self.name} poison", shares=(0.0, 0.0, 0.1))
        if self._faults.on and hash((envelope.key, self.name)) % 1_000 < 1_000 * poisonous:
            self._faults.counted[f"{self.name} poison"] += 1
            raise PoisonError("broken, as this seed wants it")
        await self._service.apply(envelope, deadline)
