"""fleet: a parent's talk with the registry."""

import os
from typing import Any

from structlog.testing import capture_logs
from tests.simulation.world import SERVICES, World, WorldRegistry
from tests.supervisor.erasures_listed import ListedErasures

from omni_etl.errors import UnavailableError
from omni_etl.registry import ERASURES, RegisteredService, known_until_ms
from omni_etl.supervisor.fleet import Fleet
from omni_etl.supervisor.forgetting import Forgetting


class Registry(WorldRegistry):
    """Keeps what it is told; may be away."""

    is_away = False

    def __init__(self) -> None:
        super().__init__(SERVICES)
        self.told: list[tuple[str, dict[str, Any]]] = []

    async def services(self) -> list[RegisteredService]:
        """All, if there."""
        if self.is_away:
            raise UnavailableError("no database")
        return await super().services()

    async def report(self, role: str, instance: str, state: dict[str, Any]) -> None:
        """Keep it."""
        self.told.append((role, state))


class NoChildren:
    """One pid."""

    def pids(self) -> dict[str, int]:
        """As the real ones."""
        return {"metrics": 7}


def scene() -> tuple[Fleet, Registry, World]:
    """A fleet over a world's parent."""
    world, registry = World(1), Registry()
    children: Any = NoChildren()
    forgetting = Forgetting(erasures=ListedErasures(), children=children, desks=world.supervisor.desks.values())
    fleet = Fleet(
        registry=registry, forgetting=forgetting, supervisor=world.supervisor, children=children, clock=world.clock
    )
    return fleet, registry, world


async def test_the_parent_hears_what_is_owed_and_says_how_it_is() -> None:
    """A service registered while it runs counts from the next talk on."""
    fleet, registry, world = scene()
    registry.registered.append(RegisteredService("fifth", 5, retired=False))
    await fleet.talk()
    assert "fifth" in {each.name for each in world.supervisor.registered()}
    ((role, state),) = registry.told
    assert (role, state["pid"], state["children"]) == ("run", os.getpid(), {"metrics": 7})
    assert state["services"].keys() == set(SERVICES)
    assert state[ERASURES] == 0


async def test_what_is_known_counts_from_the_question() -> None:
    """An answer that was long on its way is as old as its question."""
    fleet, registry, world = scene()
    world.clock.advance(60)
    asked_at, services = world.clock.now(), registry.services

    async def slow() -> list[RegisteredService]:
        world.clock.advance(5)
        return await services()

    registry.services = slow  # type: ignore[method-assign]  # the database takes its time
    await fleet.talk()
    assert world.supervisor.known_until_ms() == known_until_ms(asked_at)


async def test_without_the_database_the_last_word_holds() -> None:
    """An absent registry must not look like an empty one, which owes nothing; said once."""
    fleet, registry, world = scene()
    await fleet.talk()
    registry.is_away = True
    with capture_logs() as lines:
        await fleet.talk()
        await fleet.talk()
        assert {each.name for each in world.supervisor.registered()} == set(SERVICES)
        world.clock.advance(3600)
        await fleet.talk()
        assert world.supervisor.known_until_ms() == known_until_ms(world.clock.now())  # nobody waits for it
        registry.is_away = False
        await fleet.talk()
    assert [each["event"] for each in lines] == ["registry_away", "registry_back"]
