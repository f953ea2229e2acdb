"""Pruning: old rows go in small bites, seldom, and never in the way of the work."""

import asyncio

from sqlalchemy import func, insert, select, update
from tests.backends.database.conftest import away, until_blocked

from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.pruning import PAUSE_SECONDS, ROWS_MAX, Pruning
from omni_etl.backends.database.tables import suppressions_ledger
from omni_etl.clock import ManualClock

OLD = suppressions_ledger.c.applied_at_ms < 1_000


async def fill(database: Database, count: int) -> None:
    """Old rows, and one that stays."""
    rows = [{"key": str(number), "checksum": "c", "applied_at_ms": number % 1_000} for number in range(count)]
    async with database.writing() as connection:
        await connection.execute(
            insert(suppressions_ledger), [*rows, {"key": "new", "checksum": "c", "applied_at_ms": 1_000}]
        )


async def count(database: Database) -> int:
    """Rows there are."""
    async with database.reading() as connection:
        return (await connection.execute(select(func.count()).select_from(suppressions_ledger))).scalar_one()


async def test_old_rows_go_in_bites(control: Database, clock: ManualClock) -> None:
    """At most so many at a time, at once again while there are more, and what is new stays."""
    await fill(control, ROWS_MAX + 10)
    pruning = Pruning(control, clock)
    assert await pruning.run(suppressions_ledger, OLD) == ROWS_MAX
    assert await pruning.run(suppressions_ledger, OLD) == 10
    assert await count(control) == 1


async def test_a_glance_at_the_clock_is_all_it_costs(control: Database, clock: ManualClock) -> None:
    """Once a minute, per table, however often it is called."""
    pruning = Pruning(control, clock)
    assert await pruning.run(suppressions_ledger, OLD) == 0
    await fill(control, 10)
    assert await pruning.run(suppressions_ledger, OLD) == 0
    clock.advance(PAUSE_SECONDS + 1)
    assert await pruning.run(suppressions_ledger, OLD) == 10


async def test_an_outage_is_no_matter(control: Database, clock: ManualClock) -> None:
    """The work before it stands; the rows go another time."""
    await fill(control, 10)
    pruning = Pruning(control, clock)
    async with away(control):
        assert await pruning.run(suppressions_ledger, OLD) == 0
    clock.advance(PAUSE_SECONDS + 1)
    assert await pruning.run(suppressions_ledger, OLD) == 10


async def test_a_row_that_is_written_anew_meanwhile_stays(control: Database, clock: ManualClock) -> None:
    """An address suppressed again while its old tombstone is being cleared away is not lost with it."""
    await fill(control, 1)
    renew = update(suppressions_ledger).where(suppressions_ledger.c.key == "0").values(applied_at_ms=1_000)
    async with control.writing() as connection:
        await connection.execute(renew)
        pruning = asyncio.create_task(Pruning(control, clock).run(suppressions_ledger, OLD))
        await until_blocked(control)
    assert await pruning == 0
    assert await count(control) == 2
