"""The suppression list in a database, where the contract's suite cannot look: what is pruned, and along which index."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text
from tests.builders import envelope, line

from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.ledger import KEPT_MS
from omni_etl.backends.database.suppression_list import TOMBSTONES_KEPT_MS, DatabaseSuppressionList
from omni_etl.clock import ManualClock
from omni_etl.suppression_list import Saying


def saying(clock: ManualClock) -> Saying:
    """A bounce, now."""
    said_at_ms = int(clock.now() * 1000)
    return Saying(0, "ann@example.com", "transactional", True, said_at_ms, "id", "Bounce Rule", "550")


async def rows(database: Database, table: str) -> int:
    """How many there are."""
    async with database.reading() as connection:
        count: int = (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()
        return count


async def test_a_tombstone_goes_after_its_time_and_an_entry_stays(control: Database, clock: ManualClock) -> None:
    """90 days for what was deleted, for ever for what holds, 60 days for the ledger."""
    listed = DatabaseSuppressionList(control, clock)
    first = saying(clock)
    await listed.apply(
        envelope([line()], seq=1), [first, replace(first, recipient="bob@example.com", suppressed=False)]
    )
    clock.advance(KEPT_MS / 1000 + 1)
    await listed.apply(envelope([line()], seq=2), [replace(first, recipient="cid@example.com")])
    assert (await rows(control, "suppressions"), await rows(control, "suppressions_ledger")) == (3, 1)
    clock.advance((TOMBSTONES_KEPT_MS - KEPT_MS) / 1000)
    await listed.apply(envelope([line()], seq=3), [replace(first, recipient="dan@example.com")])
    assert await rows(control, "suppressions") == 3
    assert await listed.count() == 3


async def test_an_envelope_that_says_nothing_writes_nothing(control: Database, clock: ManualClock) -> None:
    """Most say nothing, and a row for each would be an fsync for each."""
    listed = DatabaseSuppressionList(control, clock)
    await listed.apply(envelope([line()]), [])
    assert await rows(control, "suppressions_ledger") == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_counting_and_pruning_read_indexes_of_their_own(control: Database) -> None:
    """A million entries do not make the minute's pruning slow, nor a hundred thousand tombstones the count."""
    statements = {
        "SELECT count(*) FROM suppressions WHERE suppressions.suppressed = 1": "suppressions_in_force",
        "SELECT 1 FROM suppressions WHERE suppressions.suppressed = 0 AND said_at_ms < 5": "suppressions_tombstones",
        "SELECT 1 FROM suppressions WHERE recipient = 'x' AND suppressed = 1": "PRIMARY KEY",
    }
    async with control.reading() as connection:
        for statement, index in statements.items():
            [step] = await connection.execute(text(f"EXPLAIN QUERY PLAN {statement}"))
            assert index in step.detail


async def test_sayings_at_the_same_time_never_wait_crosswise(control: Database, clock: ManualClock) -> None:
    """Whatever the order in which two envelopes speak of the same addresses: PostgreSQL would end one as a deadlock."""
    listed = DatabaseSuppressionList(control, clock)
    said = [replace(saying(clock), recipient=f"{number}@example.com") for number in range(50)]
    for number in range(15):
        forth = [replace(each, said_at_ms=1_000 * number + position) for position, each in enumerate(said)]
        back = [replace(each, said_at_ms=1_000 * number - position) for position, each in enumerate(said)]
        await asyncio.gather(*(listed.say(each) for each in (forth, back, forth[25:] + forth[:25])))
    assert await listed.count() == 50
