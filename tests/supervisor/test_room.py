"""room: how many leases more a parent may take. Most of it is in `test_loop.py`, asked of the parent."""

import random

from tests.simulation.world import LIMITS
from tests.supervisor.leases import held

from omni_etl.supervisor.desk import Desk
from omni_etl.supervisor.receive import Source
from omni_etl.supervisor.room import room


def test_sidings_and_lanes_do_not_count_each_other() -> None:
    """A siding's leases are its desk's, and take nothing from the lanes."""
    desk = Desk.of("metrics", LIMITS, random.Random(1))
    desk.ready = True
    mine = [held(1, only="metrics"), held(2), held(3)]
    assert room(Source("siding-metrics", "metrics"), mine, {"metrics": desk}, LIMITS, now=0.0) == 2
    assert room(Source("bulk"), mine, {"metrics": desk}, LIMITS, now=0.0) == 10
