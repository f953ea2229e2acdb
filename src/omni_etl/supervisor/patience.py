"""Patience: how long an envelope waits for one service beyond the others; pure.

While leases last, the whole wait. Once they run short, a service that is slow or whose child keeps dying would hold
them all, although its engine answers and its circuit is closed; so whoever the leases wait for is waited for no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from omni_etl.supervisor.desk import Desk
from omni_etl.supervisor.held import Held
from omni_etl.supervisor.limits import SupervisorLimits

SHORT_SHARE: Final = 1 / 2  # of all leases: so many taken, and they run short
ALONE_SHARE: Final = 1 / 8  # so many may then wait for one service alone; half of what bulk leaves to express
SLOW_SECONDS: Final = 3.0  # of bulk, where leases wait for several services: longer than a busy parent keeps one
SLOW_EXPRESS_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for whom, as the leases stand now."""

    limits: SupervisorLimits
    is_short: bool
    alone: frozenset[str]  # services that too many leases wait for alone
    most: str | None  # the service that most leases wait for

    @classmethod
    def of(cls, lanes: Collection[Held], limits: SupervisorLimits) -> Patience:
        """Look at all leases from lanes."""
        if len(lanes) < limits.leases_max * SHORT_SHARE:
            return cls(limits, is_short=False, alone=frozenset(), most=None)
        waiting = [missing for held in lanes if held.marks and (missing := held.missing())]
        alone = Counter(name for missing in waiting if len(missing) == 1 for name in missing)
        most = Counter(name for missing in waiting for name in missing).most_common(1)
        crowded = frozenset(name for name, count in alone.items() if count > limits.leases_max * ALONE_SHARE)
        return cls(limits, is_short=True, alone=crowded, most=most[0][0] if most else None)

    def seconds(self, held: Held, desk: Desk, now: float) -> float:
        """How long this envelope waits for this service after the last mark."""
        if desk.service in self.alone and len(held.missing()) == 1:
            return 0.0
        wait_seconds = self.limits.wait_beyond_others_seconds
        if desk.circuit.is_open:
            return 0.0 if self.is_short else max(0.0, wait_seconds - desk.circuit.open_seconds(now))
        if desk.service == self.most:
            return min(wait_seconds, SLOW_EXPRESS_SECONDS if held.is_express else SLOW_SECONDS)
        return wait_seconds


def late(
    held: Iterable[Held], desks: Mapping[str, Desk], limits: SupervisorLimits, *, now: float
) -> list[tuple[Held, Desk]]:
    """The envelopes that waited too long for a service beyond the others, each with that service's desk."""
    lanes = [each for each in held if each.only is None]
    patience = Patience.of(lanes, limits)
    return [
        (each, desk)
        for each in lanes
        if each.marks and not each.settling
        for name in each.missing() - each.in_flight
        if (desk := desks.get(name)) is not None and now - each.marked_at >= patience.seconds(each, desk, now)
    ]
