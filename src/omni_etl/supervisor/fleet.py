"""Fleet: hear which services are registered and who was erased, and say how this parent is.

Without the database the last word holds, for envelopes cut before a service could have been registered unheard.
"""

from __future__ import annotations

import os
import socket
from typing import Final

from omni_etl import telemetry
from omni_etl.clock import Clock
from omni_etl.errors import UnavailableError
from omni_etl.registry import ERASURES, Registry
from omni_etl.supervisor.children import Children
from omni_etl.supervisor.forgetting import Forgetting
from omni_etl.supervisor.loop import Supervisor

HEAR_SECONDS: Final = 2.0


class Fleet:
    """A parent's talk with the registry."""

    def __init__(
        self, *, registry: Registry, forgetting: Forgetting, supervisor: Supervisor, children: Children, clock: Clock
    ) -> None:
        self._registry = registry
        self._forgetting = forgetting
        self._supervisor = supervisor
        self._children = children
        self._clock = clock
        self._instance = f"{socket.gethostname()}-{os.getpid()}"
        self._away = False

    async def run(self) -> None:
        """Hear and say for ever; cancelled at stop."""
        while True:
            await self.talk()
            await self._clock.sleep(HEAR_SECONDS)

    async def talk(self) -> None:
        """Once."""
        log = telemetry.get_logger()
        asked_at = self._clock.now()
        try:
            self._supervisor.hear(await self._registry.services(), asked_at=asked_at)
            await self._forgetting.hear()
            about = {"pid": os.getpid(), "children": self._children.pids(), ERASURES: self._forgetting.through()}
            state = {**self._supervisor.state(), **about}
            await self._registry.report("run", self._instance, state)
        except UnavailableError as error:
            if not self._away:
                self._away = True
                log.error("registry_away", reason=str(error))
            # Nobody registers with a database that is away, so what was heard last still holds for what is cut now:
            # without it metrics and message_events would wait for an engine that they do not need.
            self._supervisor.hear(self._supervisor.registered(), asked_at=asked_at)
            return
        if self._away:
            self._away = False
            log.info("registry_back")
