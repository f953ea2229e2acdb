"""A service for real children and children in process: each behaviour by its name."""

import asyncio
import os
import threading

from omni_etl.envelope import Envelope
from omni_etl.errors import IdConflictError, PoisonError, SettingsError, UnavailableError
from omni_etl.service import Deadline


class AliveService:
    """Does what its name says and tells on stdout how far it is; `applied` holds the keys whose effect was made."""

    types = frozenset({"delivery"})

    def __init__(self, name: str = "good") -> None:
        self.name = name
        self.opens = 0
        self.runs = 0
        self.closed = False
        self.applied: list[str] = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    async def open(self) -> None:
        """Reach nothing."""
        self.opens += 1
        if self.name == "away-at-first" and self.opens < 3:
            raise UnavailableError("not yet")
        if self.name == "broken-at-first" and self.opens < 3:
            raise KeyError("a fault of ours")
        if self.name == "unfit":
            raise SettingsError("OMNI_X", "nothing", "Set it.")

    async def apply(self, envelope: Envelope, deadline: Deadline) -> None:
        """The effect."""
        self.begun.set()
        os.write(1, b"begun\n")
        if self.name == "hangs":
            await self.go_on.wait()
        if self.name == "stuck":
            threading.Event().wait()  # the loop does not turn any more
        errors = {"away": UnavailableError, "poison": PoisonError, "conflict": IdConflictError, "bug": RuntimeError}
        if self.name in errors:
            raise errors[self.name]("so it is")
        deadline.check()
        self.applied.append(envelope.key)

    async def run(self) -> None:
        """Fails the first time, or goes on until it is cancelled."""
        self.runs += 1
        if self.name == "loop-fails" and self.runs == 1:
            raise RuntimeError("a fault of ours")
        try:
            await asyncio.Event().wait()
        finally:
            os.write(1, b"stopping\n")

    async def close(self) -> None:
        """Noted."""
        self.closed = True
