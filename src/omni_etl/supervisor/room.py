"""Room: how many leases more a parent may take from a queue now; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from omni_etl.supervisor.desk import Desk
from omni_etl.supervisor.held import Held
from omni_etl.supervisor.limits import SupervisorLimits
from omni_etl.supervisor.receive import Source


def room(
    source: Source, held: Iterable[Held], desks: Mapping[str, Desk], limits: SupervisorLimits, *, now: float
) -> int:
    """Each lane leaves a quarter to the other; a siding gets as many as its desk can soon use."""
    if source.only is not None:
        mine = sum(1 for each in held if each.only == source.only)
        return limits.child_slots - mine if _works(desks[source.only], now) else 0
    if not any(_works(desk, now) for desk in desks.values()):
        return 0  # every engine is away: untouched envelopes cost nothing
    lanes = [each for each in held if each.only is None]
    mine = sum(1 for each in lanes if each.header.lane == source.queue_name)
    return min(limits.leases_max - len(lanes), max(1, limits.leases_max * 3 // 4) - mine)


def _works(desk: Desk, now: float) -> bool:
    return desk.ready and desk.circuit.may_try(now)
