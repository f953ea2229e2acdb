"""The registry in a database, where the contract's suite cannot look: what is forgotten, and who was first."""

import asyncio

from sqlalchemy import text

from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.registry import DatabaseRegistry
from omni_etl.clock import ManualClock


async def test_a_process_silent_for_a_day_is_forgotten(control: Database, clock: ManualClock) -> None:
    """Every start has a name of its own, so the table would grow for ever."""
    registry = DatabaseRegistry(control, clock)
    await registry.report("run", "a", {})
    clock.advance(86_401)
    await registry.report("run", "b", {})
    async with control.reading() as connection:
        assert (await connection.execute(text("SELECT instance FROM role_reports"))).scalars().all() == ["b"]


async def test_parents_that_start_together_agree(control: Database, clock: ManualClock) -> None:
    """One registration stands, whoever came first."""
    registries = [DatabaseRegistry(control, clock) for _ in range(5)]
    await asyncio.gather(*(each.register(["metrics", "webhooks"]) for each in registries))
    assert [each.name for each in await registries[0].services()] == ["metrics", "webhooks"]
