"""Desk: what one service has to do, and in which order; pure but for the clock it is told.

Express envelopes have a slot of their own and so has everything else. While the siding holds anything, at least half of
the other slots go to it, so that an old backlog shrinks under any load; siding and lane take turns, so that the lane,
and with it every other service, does not wait for the backlog either.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from omni_etl.backoff import Backoff
from omni_etl.envelope import Header
from omni_etl.event import TYPES
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
    handed_out_at: dict[int, float] = field(default_factory=dict)  # monotonic, by work; oldest first
    turn: Kind = "siding"  # or bulk: whose turn it is at the slots that they share

    @classmethod
    def of(cls, service: str, limits: SupervisorLimits, rng: random.Random) -> Desk:
        """An empty one, its circuit closed, its child not ready yet."""
        backoff = Backoff(first_seconds=0.5, wait_seconds_max=limits.circuit_wait_seconds_max)
        dead_share = DeadShare(limits.dead_share_max, limits.dead_count_min)
        return cls(service, limits.child_slots, Circuit(backoff, rng), dead_share)

    def wants(self, header: Header) -> bool:
        """Whether the service has something to do. One that binds to every type gets empty envelopes too.

        Its ledger then has every number that was cut, and the audit finds one that is missing.
        """
        if not header.types:
            return self.types >= TYPES
        return not self.types.isdisjoint(each.type for each in header.types)

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

    def hand_out(self, work_id: int, held: Held, now: float) -> None:
        """The child has it from now on."""
        self.in_flight[work_id] = held
        self.handed_out_at[work_id] = now
        held.in_flight.add(self.service)
        self.circuit.trying()

    def finish(self, work_id: int) -> Held | None:
        """The child answered for it; None for a work of a child before this one."""
        self.handed_out_at.pop(work_id, None)
        held = self.in_flight.pop(work_id, None)
        if held is not None:
            held.in_flight.discard(self.service)
        return held

    def is_stuck(self, now: float, answer_seconds_max: float) -> bool:
        """Whether an answer is overdue; said once for what the child holds now, which is about to come back."""
        is_stuck = any(now - at > answer_seconds_max for at in self.handed_out_at.values())
        if is_stuck:
            self.handed_out_at.clear()
        return is_stuck

    def unseat(self) -> list[Held]:
        """The child is gone: everything in flight comes back, first in line. Whoever had company becomes a suspect."""
        came_back = list(self.in_flight.values())
        self.in_flight.clear()
        self.handed_out_at.clear()
        self.ready = False
        for held in reversed(came_back):
            held.in_flight.discard(self.service)
            if len(came_back) > 1:
                held.suspects.add(self.service)
            self.offer(held, first=True)
        return came_back

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
