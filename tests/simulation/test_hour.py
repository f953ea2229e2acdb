"""One service away for an hour, on the whole way: nobody else notices, nothing is lost."""

from __future__ import annotations

import asyncio

import pytest
from tests.simulation.oracle import judge
from tests.simulation.way import SERVICES, Way, lived

from omni_etl.envelope import LANES
from omni_etl.queue import siding

HOUR_SECONDS = 3_600
LOOK_SECONDS = 30
LAG_SECONDS_MAX = 15.0  # cut by age, sent, received, applied


class Hour:
    """What is seen from outside meanwhile."""

    def __init__(self, away: str) -> None:
        self.away = away
        self.late: set[str] = set()  # events that were not stored in time
        self.lanes_max = 0
        self.sided = 0
        self.sided_elsewhere = 0

    async def live(self, way: Way) -> None:
        """The hour, and what follows."""
        await way.begin()
        producing = asyncio.create_task(way.producers.run(seconds=HOUR_SECONDS, count=300))
        way.faults.services_away = {self.away}
        while way.loop.elapsed < HOUR_SECONDS:
            await asyncio.sleep(LOOK_SECONDS)
            self._look(way)
        self.sided = way.queue.count(siding(self.away))
        way.faults.services_away = set()
        await producing
        await way.end()

    def _look(self, way: Way) -> None:
        due = way.producers.accepted_before(way.loop.elapsed - LAG_SECONDS_MAX)
        stored = {row["subject"] for row in way.store._rows["message_events"]}
        self.late |= due - stored
        self.lanes_max = max(self.lanes_max, sum(map(way.queue.count, LANES)))
        others = [name for name in SERVICES if name != self.away]
        self.sided_elsewhere += sum(way.queue.count(siding(name)) for name in others)


@pytest.mark.simulation
def test_a_service_that_is_away_for_an_hour_holds_up_no_other() -> None:
    """The others keep their lag, the lanes do not grow, all of the hour lies in one siding, and then every promise holds."""
    hour = Hour("metrics")
    with lived(5, calm=True, life=hour.live) as way:
        assert judge(way).ok, judge(way).wrong[:3]
        accepted = len(way.producers.accepted)
    assert accepted > 800
    assert not hour.late
    assert hour.lanes_max <= 16
    assert hour.sided > 200
    assert not hour.sided_elsewhere
