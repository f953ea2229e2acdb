"""Desk: what one service has to do, and in which order; pure but for the clock it is told.

Express envelopes have a slot of their own and so has everything else. While the siding holds anything, at least half of
the other slots go to it, so that an old backlog shrinks under any load; siding and lane take turns, so that the lane,
and with it every other service, does not wait for the backlog either.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from omni_etl.supervisor.circuit import Circuit, DeadShare
from omni_etl.supervisor.held import Held
from omni_etl.supervisor.limits import SupervisorLimits

Kind = Literal["express", "siding", "bulk"]
KINDS: Final[tuple[Kind, ...]] = ("express", "siding", "bulk")


@dataclass(slots=True)
class Desk:
    """The work of one service."""

    service: str
    slots: int
    circuit: Circuit
    dead_share: DeadShare
    types: frozenset[str] = frozenset()  # known once the child was ready
    ready: bool = False
    waiting: dict[Kind, deque[Held]] = field(default_factory=lambda: {kind: deque() for kind in KINDS})
    delayed: list[tuple[float, Held]] = field(default_factory=list)
    in_flight: dict[int, Held] = field(default_factory=dict)
    turn: Kind = "siding"  # or bulk: whose turn it is at the slots that they share

    def offer(self, held: Held, *, first: bool = False) -> None:
        """Put an envelope in line; `first` for one that comes back."""
        line = self.waiting[kind_of(held)]
        if first:
            line.appendleft(held)
        else:
            line.append(held)

    def offer_later(self, held: Held, at: float) -> None:
        """Put it in line when its time has come."""
        self.delayed.append((at, held))

    def withdraw(self, held: Held) -> None:
        """Take it out of every line."""
        line = self.waiting[kind_of(held)]
        if held in line:
            line.remove(held)
        self.delayed = [(at, each) for at, each in self.delayed if each is not held]

    def take(self, now: float) -> Held | None:
        """The envelope to hand out now, or None."""
        self._wake_delayed(now)
        if not self.ready or not self.circuit.may_try(now) or len(self.in_flight) >= self.slots:
            return None
        # A suspect works alone, so that a death says who did it, and first, so that it waits for no gap in the traffic.
        if any(self.service in held.suspects for held in self.in_flight.values()):
            return None
        for line in self.waiting.values():
            if line and self.service in line[0].suspects:
                return None if self.in_flight else line.popleft()
        kinds: tuple[Kind, ...] = KINDS if self.turn == "siding" else ("express", "bulk", "siding")
        for kind in kinds:
            if self.waiting[kind] and self._has_slot(kind):
                if kind != "express":
                    self.turn = "bulk" if kind == "siding" else "siding"
                return self.waiting[kind].popleft()
        return None

    def unseat(self) -> list[Held]:
        """The child is gone: everything in flight comes back, first in line. Whoever had company becomes a suspect."""
        came_back = list(self.in_flight.values())
        self.in_flight.clear()
        self.ready = False
        for held in reversed(came_back):
            held.in_flight.discard(self.service)
            if len(came_back) > 1:
                held.suspects.add(self.service)
            self.offer(held, first=True)
        return came_back

    def patience_seconds(self, now: float, limits: SupervisorLimits, leases: int) -> float:
        """How long an envelope waits beyond the others: less the longer the engine is away, not at all once leases run short."""
        if not self.circuit.is_open:
            return limits.wait_beyond_others_seconds
        if leases >= limits.leases_max // 2:
            return 0.0
        return max(0.0, limits.wait_beyond_others_seconds - self.circuit.open_seconds(now))

    def backlog(self) -> int:
        """Envelopes in line."""
        return sum(len(line) for line in self.waiting.values()) + len(self.delayed)

    def state(self) -> dict[str, Any]:
        """What `omni status` shows of it."""
        return {
            "circuit": "open" if self.circuit.is_open else "closed",
            "reason": self.circuit.reason,
            "ready": self.ready,
            "waiting": self.backlog(),
            "in_flight": len(self.in_flight),
        }

    def _has_slot(self, kind: Kind) -> bool:
        kinds = [kind_of(held) for held in self.in_flight.values()]
        if kind == "express":
            return kinds.count("express") < self.slots - 1
        others, others_max = len(kinds) - kinds.count("express"), self.slots - 1
        if kind == "bulk" and self.waiting["siding"] and kinds.count("bulk") >= max(1, others_max // 2):
            return False
        return others < others_max

    def _wake_delayed(self, now: float) -> None:
        due = [held for at, held in self.delayed if at <= now]
        if due:
            self.delayed = [(at, held) for at, held in self.delayed if at > now]
            for held in due:
                self.offer(held, first=True)


def kind_of(held: Held) -> Kind:
    """Which of a desk's lines an envelope stands in."""
    if held.only is not None:
        return "siding"
    return "express" if held.is_express else "bulk"
