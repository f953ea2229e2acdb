"""The registry's contract: what the fleet agrees on."""

from collections.abc import AsyncIterator

import pytest

from omni_etl.backends.database import DatabaseRegistry, open_database
from omni_etl.clock import ManualClock
from omni_etl.registry import REGISTRATION_SECONDS, RegisteredService, Registry, owed


@pytest.fixture
async def registry(database_url: str, clock: ManualClock) -> AsyncIterator[Registry]:
    """An empty, open registry."""
    subject = DatabaseRegistry(open_database(database_url, "control", clock), clock)
    await subject.open()
    yield subject
    await subject.close()


async def test_an_envelope_owes_what_was_registered_before_its_cut(registry: Registry, clock: ManualClock) -> None:
    """A known name keeps its time; a new one counts a grace from now on, so that every parent hears of it before."""
    await registry.register(["metrics", "webhooks"])
    clock.advance(60)
    await registry.register(["webhooks", "suppressions"])
    later_ms = int((clock.now() + REGISTRATION_SECONDS) * 1000)
    assert await registry.services() == [
        RegisteredService("metrics", 0, retired=False),
        RegisteredService("suppressions", later_ms, retired=False),
        RegisteredService("webhooks", 0, retired=False),
    ]
    assert owed(await registry.services(), later_ms - 1) == {"metrics", "webhooks"}


async def test_the_first_services_are_owed_what_was_cut_before_them(registry: Registry) -> None:
    """A hose that started before the first parent loses nothing."""
    await registry.register(["metrics"])
    assert owed(await registry.services(), 1) == {"metrics"}


async def test_a_retired_service_is_owed_nothing_until_it_returns(registry: Registry, clock: ManualClock) -> None:
    """It returns for what is cut from then on, not for what it missed."""
    await registry.register(["metrics"])
    assert await registry.retire("metrics")
    assert not await registry.retire("metrics")
    assert not await registry.retire("never seen")
    assert owed(await registry.services(), int(clock.now() * 1000)) == frozenset()
    clock.advance(60)
    await registry.register(["metrics"])
    since_ms = int((clock.now() + REGISTRATION_SECONDS) * 1000)
    assert owed(await registry.services(), since_ms - 1) == frozenset()
    assert owed(await registry.services(), since_ms) == {"metrics"}


async def test_registering_nothing_is_harmless(registry: Registry) -> None:
    """No names, no services."""
    await registry.register([])
    assert await registry.services() == []


async def test_the_epoch_is_remembered(registry: Registry) -> None:
    """None until someone sets it; the last word stands."""
    assert await registry.epoch() is None
    await registry.set_epoch("one")
    await registry.set_epoch("two")
    assert await registry.epoch() == "two"


async def test_a_process_is_known_by_its_last_word(registry: Registry, clock: ManualClock) -> None:
    """Newest first; an hour of silence and it is left out, a day and it is forgotten."""
    await registry.report("run", "a", {"leases": 1})
    clock.advance(60)
    await registry.report("hose", "b", {})
    await registry.report("run", "a", {"leases": 2, "circuits": ["metrics"]})
    clock.advance(60)
    await registry.report("api", "c", {})
    assert [(each.role, each.instance) for each in await registry.reports()] == [
        ("api", "c"),
        ("run", "a"),
        ("hose", "b"),
    ]
    assert (await registry.reports())[1].state == {"leases": 2, "circuits": ["metrics"]}
    clock.advance(3_590)
    assert [each.instance for each in await registry.reports()] == ["c"]


async def test_a_dead_letter_keeps_its_first_reason(registry: Registry, clock: ManualClock) -> None:
    """Idempotent by service and key; newest first."""
    await registry.bury("metrics", "h-bulk-1", "no such table")
    clock.advance(1)
    await registry.bury("metrics", "h-bulk-1", "another reason")
    await registry.bury("webhooks", "h-bulk-1", "id conflict")
    letters = await registry.dead_letters()
    assert [(each.service, each.reason) for each in letters] == [
        ("webhooks", "id conflict"),
        ("metrics", "no such table"),
    ]
    assert letters[0].died_at_ms == int(clock.now() * 1000)
