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
async def test_questions_read_indexes_of_their_own(control: Database) -> None:
    """A million entries make neither the minute's pruning slow, nor a page, and a hundred thousand tombstones not the count."""
    statements = {
        "SELECT count(*) FROM suppressions WHERE suppressions.suppressed = 1": "INDEX suppressions_updated",
        "SELECT count(*) FROM suppressions WHERE suppressed = 1 AND subaccount_id = 7": "suppressions_in_force",
        "SELECT 1 FROM suppressions WHERE suppressed = 1 ORDER BY said_at_ms DESC, recipient DESC, subaccount_id DESC, "
        "type DESC, list_id DESC": "INDEX suppressions_updated",
        "SELECT 1 FROM suppressions WHERE suppressed = 1 AND subaccount_id = 7 ORDER BY said_at_ms, recipient, type, "
        "list_id": "suppressions_in_force",
        "SELECT 1 FROM suppressions WHERE change > 5 ORDER BY change": "suppressions_changed",
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


async def test_a_reader_hears_that_it_missed_a_deletion(control: Database, clock: ManualClock) -> None:
    """Once a tombstone is gone, whoever comes from before it must begin anew; whoever comes from after need not."""
    listed = DatabaseSuppressionList(control, clock)
    first = saying(clock)
    await listed.say([first, replace(first, recipient="bob@example.com")])
    await listed.say([replace(first, suppressed=False, said_at_ms=first.said_at_ms + 1)])
    await listed.say([replace(first, recipient="cid@example.com")])
    assert [await listed.can_resume(number) for number in (0, 1, 2, 3, 4)] == [True] * 5
    clock.advance(TOMBSTONES_KEPT_MS / 1000 + 1)
    await listed.apply(envelope([line()], seq=1), [replace(first, recipient="dan@example.com")])
    assert await rows(control, "suppressions") == 3
    assert [await listed.can_resume(number) for number in (0, 1, 2, 3, 4, 5)] == [True, False, False, True, True, True]
    assert [each.number for each in (await listed.changes(0, count_max=10)).changes] == [2, 4, 5]


async def test_numbers_are_taken_in_the_order_of_commits(control: Database, clock: ManualClock) -> None:
    """Whoever has taken one lets nobody take the next before its commit; a number that was rolled back was nobody's."""
    listed = DatabaseSuppressionList(control, clock)
    first = saying(clock)
    has_taken, may_commit = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with control.writing() as connection:
            await connection.run_sync(listed._sayings.say, [first])
            has_taken.set()
            await may_commit.wait()

    holding = asyncio.create_task(slow())
    await has_taken.wait()
    quick = asyncio.create_task(listed.say([replace(first, recipient="bob@example.com")]))
    done, _ = await asyncio.wait({quick}, timeout=0.2)
    assert not done
    assert await listed.last_change() == 0
    may_commit.set()
    await asyncio.gather(holding, quick)
    told = await listed.changes(0, count_max=10)
    assert [(each.number, each.saying.recipient) for each in told.changes] == [
        (1, "ann@example.com"),
        (2, "bob@example.com"),
    ]


async def test_a_check_finds_any_text(control: Database, clock: ManualClock) -> None:
    """The quick way of `glance` knows what PostgreSQL's text cannot hold, and keys that are too long for an index."""
    listed = DatabaseSuppressionList(control, clock)
    for recipient in ("a\x00b\x01@example.com", "é" * 3_000 + "@example.com"):
        await listed.say([replace(saying(clock), recipient=recipient, description="\x00\x01é", list_id="news")])
        [entry] = await listed.check(recipient.upper())
        assert (entry.description, entry.list_id) == ("\x00\x01é", "news")
        assert await listed.check(recipient, 1) == []
    assert await listed.check("'; --") == []
