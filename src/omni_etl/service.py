"""Service: the contract of what a child process runs, and of a fifth service by entry point `omni_etl.services`."""

from __future__ import annotations

from typing import Protocol

from omni_etl.clock import Clock
from omni_etl.envelope import Envelope
from omni_etl.errors import LeaseLapsedError


class Deadline:
    """Until when an effect may begin. A service calls `check` directly before each effect.

    Made when the work arrives: the wall's deadline is fixed here, because a machine that sleeps later may wake with a
    monotonic clock that stood still.
    """

    def __init__(self, clock: Clock, at_monotonic: float) -> None:
        self._clock = clock
        self._at = at_monotonic
        now = clock.now()  # before the other clock: paused between the two, the deadline is early and never late
        self._at_wall = now + (at_monotonic - clock.monotonic())

    def check(self) -> float:
        """Go on only while the lease is ours; answers the wall's deadline (seconds since the epoch).

        A process may be paused after this, so an engine that can refuse what comes later is told that time.

        Raises:
            LeaseLapsedError: the deadline has passed.

        """
        if self._clock.monotonic() >= self._at:
            raise LeaseLapsedError("the lease lapsed before the effect began")
        return self._at_wall


class Service(Protocol):
    """One consumer of every envelope. `apply` may be called twice, at once, for the same envelope: the effect is one."""

    @property
    def name(self) -> str:
        """As registered, as its entry point."""
        ...

    @property
    def types(self) -> frozenset[str]:
        """The event types it binds to; envelopes without any of them are done unopened.

        One that binds to all is handed empty envelopes too (a quiet hose sends one a minute): its ledger has every number.
        """
        ...

    async def open(self) -> None:
        """Reach the engine. Called again, with back-off, after `UnavailableError`.

        Raises:
            SettingsError: what waiting cannot heal; stops the parent.

        """
        ...

    async def apply(self, envelope: Envelope, deadline: Deadline) -> None:
        """Make the effect and its ledger entry in one atomic step; return only when both are durable.

        Raises:
            UnavailableError: the engine is away; opens the circuit.
            PoisonError: this envelope cannot be applied.
            LeaseLapsedError: by `deadline.check()`.

        """
        ...

    async def run(self) -> None:
        """Work of its own beside `apply` (webhooks deliver here); cancelled at stop. May return at once."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...
