"""forgetting: children hear before any work that follows, and the fleet hears when nothing earlier is under way."""

from typing import Any

import pytest
from tests.simulation.world import SERVICES, World
from tests.supervisor.erasures_listed import ListedErasures

from omni_etl.erasure import Erasure, Known
from omni_etl.errors import UnavailableError
from omni_etl.supervisor.forgetting import Forgetting

ONE, TWO = Erasure(b"1", 1), Erasure(b"2", 2)


class Scene:
    """A parent's desks, with work by hand, and children who note what they are told."""

    def __init__(self) -> None:
        self.desks = World(1).supervisor.desks
        self.erasures = ListedErasures()
        self.told: list[Known] = []
        self.forgetting = Forgetting(erasures=self.erasures, children=self, desks=self.desks.values())

    def forget(self, known: Known) -> None:
        """As the children."""
        self.told.append(known)

    def begin(self, work_id: int, service: str = SERVICES[0]) -> None:
        """The child has it."""
        held: Any = object()
        self.desks[service].in_flight[work_id] = held

    def end(self, work_id: int, service: str = SERVICES[0]) -> None:
        """It answered."""
        del self.desks[service].in_flight[work_id]


async def test_what_was_handed_out_before_is_waited_for() -> None:
    """At every desk; what is handed out afterwards is with a child that knows."""
    scene = Scene()
    scene.begin(1)
    scene.begin(2, SERVICES[1])
    scene.erasures.erasures.append(ONE)
    await scene.forgetting.hear()
    assert [each.erasures for each in scene.told] == [(ONE,)]
    scene.begin(3)
    scene.end(1)
    assert scene.forgetting.through() == 0
    scene.end(2, SERVICES[1])
    assert scene.forgetting.through() == 1


async def test_each_erasure_waits_for_what_came_before_it() -> None:
    """And not for what came between it and the next; children hear only of news."""
    scene = Scene()
    scene.erasures.erasures.append(ONE)
    scene.begin(1)
    await scene.forgetting.hear()
    scene.end(1)
    scene.begin(2)
    scene.erasures.erasures.append(TWO)
    await scene.forgetting.hear()
    await scene.forgetting.hear()
    assert [each.erasures for each in scene.told] == [(ONE,), (ONE, TWO)]
    assert scene.forgetting.through() == 1
    scene.end(2)
    assert scene.forgetting.through() == 2


async def test_while_the_database_is_away_the_last_word_holds() -> None:
    """Children keep what they were told, and nobody hears that they know more."""
    scene = Scene()
    scene.erasures.erasures.append(ONE)
    await scene.forgetting.hear()
    scene.erasures.erasures.append(TWO)
    scene.erasures.is_away = True
    with pytest.raises(UnavailableError):
        await scene.forgetting.hear()
    assert (len(scene.told), scene.forgetting.through()) == (1, 1)
