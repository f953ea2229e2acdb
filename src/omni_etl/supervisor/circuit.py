"""Circuit: whether a service may be given work; pure. One per service."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from omni_etl.backoff import Backoff

WINDOW_SECONDS: Final = 60.0


@dataclass(slots=True)
class Circuit:
    """Closed: work flows. Open: the engine is away; one probe at a time, after growing pauses."""

    backoff: Backoff
    rng: random.Random
    opened_at: float | None = None
    reason: str = ""
    _failures: int = 0
    _probe_at: float = 0.0
    _probing: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the engine counts as away."""
        return self.opened_at is not None

    def may_try(self, now: float) -> bool:
        """Whether one more work may be handed out now."""
        return self.opened_at is None or (not self._probing and now >= self._probe_at)

    def trying(self) -> None:
        """One work was handed out; while open it is the probe."""
        self._probing = self.is_open

    def failed(self, now: float, reason: str) -> bool:
        """The engine was away; True where this opened the circuit."""
        self._failures += 1
        self._probing = False
        self._probe_at = now + self.backoff.wait_seconds(self._failures, self.rng)
        self.reason = reason
        if self.opened_at is not None:
            return False
        self.opened_at = now
        return True

    def succeeded(self) -> bool:
        """The engine answered; True where this closed the circuit."""
        was_open = self.is_open
        self.opened_at = None
        self.reason = ""
        self._failures = 0
        self._probing = False
        return was_open

    def open_seconds(self, now: float) -> float:
        """For how long it has been open."""
        return 0.0 if self.opened_at is None else now - self.opened_at


@dataclass(slots=True)
class DeadShare:
    """How many of a minute's envelopes one service gave up: a broken deploy must not empty the queue into the bin."""

    share_max: float
    count_min: int
    _ends: deque[tuple[float, bool]] = field(default_factory=deque)

    def done(self, now: float) -> None:
        """One envelope was done."""
        self._note(now, dead=False)

    def may_bury(self, now: float) -> bool:
        """Whether one more may be given up; notes it if so."""
        self._forget(now)
        dead = 1 + sum(is_dead for _, is_dead in self._ends)
        if dead > self.count_min and dead > self.share_max * (len(self._ends) + 1):
            return False
        self._note(now, dead=True)
        return True

    def _note(self, now: float, *, dead: bool) -> None:
        self._forget(now)
        self._ends.append((now, dead))

    def _forget(self, now: float) -> None:
        while self._ends and self._ends[0][0] < now - WINDOW_SECONDS:
            self._ends.popleft()
