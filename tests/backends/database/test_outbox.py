"""The outbox in a database, where the contract's suite cannot look: whole or not at all, small, and pruned."""

import asyncio

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.exc import IntegrityError
from tests.backends.database.conftest import Start, opened
from tests.builders import envelope, line
from tests.outboxes import batch, claim, delivered, given_up, ids, segment

from omni_etl.backends.database.engine import Database, open_database
from omni_etl.backends.database.outbox import OPEN_SEGMENTS, TAKE, DatabaseOutbox
from omni_etl.backends.database.outbox_batches import OPEN
from omni_etl.backends.database.outbox_lanes import DUE
from omni_etl.backends.database.outbox_limits import FIRST, FREE, GIVEN_UP_KEPT_MS
from omni_etl.backends.database.sqlite import Sqlite
from omni_etl.clock import ManualClock
from omni_etl.outbox import Cut, OutboxCounts


async def figures(database: Database, sql: str) -> int:
    """One number."""
    async with database.reading() as connection:
        value: int = (await connection.execute(text(sql))).scalar_one()
        return value


async def test_a_put_that_fails_leaves_no_note(outbox_part: Database, clock: ManualClock) -> None:
    """Neither in the ledger nor in the counters nor in the batches: the redo is a first time."""
    outbox = DatabaseOutbox(outbox_part, clock)
    await outbox.put(envelope([line()], seq=1), Cut([batch("a")]))
    with pytest.raises(IntegrityError):
        await outbox.put(envelope([line()], seq=2), Cut([batch("b"), batch("a")], [segment("s", 1)]))
    assert await outbox.counts() == OutboxCounts(1, 1, 0, 0, 0, 0)
    assert await outbox.open_segments() == []
    assert await outbox.put(envelope([line()], seq=2), Cut([batch("b")])) is not None


async def test_ledger_batches_and_counters_agree_after_a_kill(
    database_url: str, clock: ManualClock, start: Start
) -> None:
    """Kill -9 in the middle of puts and joins: every envelope is in all of them or in none, each event in a segment or a batch."""
    process = start(PUTTER.format(url=database_url))
    assert process.stdout is not None
    confirmed = [process.stdout.readline() for _ in range(12)]
    process.kill()
    confirmed += [each for each in process.stdout if each.endswith("\n")]
    async with opened(open_database(database_url, "outbox", clock)) as database:
        counts = await DatabaseOutbox(database, clock).counts()
        tables = ("webhooks_ledger", "outbox_batches", "outbox_bodies", "outbox_segments")
        noted, batches, bodies, segments = [await figures(database, f"SELECT count(*) FROM {each}") for each in tables]
        joined = await figures(
            database, "SELECT coalesce(sum(event_count), 0) FROM outbox_batches WHERE target = 'joined'"
        )
    assert noted >= len(confirmed)
    assert (counts.waiting_batches, counts.waiting_events) == (batches, noted * 4_001)
    assert batches == bodies
    assert joined + segments == noted


PUTTER = """
import asyncio
from omni_etl.backends.database import DatabaseOutbox, open_database
from omni_etl.clock import SystemClock
from omni_etl.envelope import Envelope, Header
from omni_etl.outbox import Batch, Closing, Cut, Segment

async def main():
    clock = SystemClock()
    outbox = DatabaseOutbox(open_database("{url}", "outbox", clock), clock)
    await outbox.open()
    seq = 0
    while True:
        header = Header(hose_id="h", lane="bulk", seq=seq, cut_at_ms=0, event_count=0, raw_bytes=0, checksum="c",
                        types=(), last_seq={{}}, accepted_count=0)
        batches = [Batch(f"{{seq}}-{{each}}", "w", "https://x.test/", {{}}, bytes(30_000), 100) for each in range(40)]
        cut = Cut(batches, [Segment("w", str(seq), b"1", 1)])
        assert await outbox.put(Envelope(header, b""), cut) is not None
        closing = Closing("w", "joined", {{}}, events_max=100, is_everything=seq % 3 == 0, is_claimed=False)
        await outbox.join([closing], claim_seconds=30)
        print(seq, flush=True)
        seq += 1

asyncio.run(main())
"""


async def test_bodies_are_small_on_disk_and_gone_after_delivery(outbox_part: Database, clock: ManualClock) -> None:
    """JSON of a hundred events shrinks a lot, and what was delivered is not kept."""
    outbox = DatabaseOutbox(outbox_part, clock)
    body = b'[{"type":"delivery","rcpt_to":"someone@example.com"}]' * 500
    await outbox.put(envelope([line()]), Cut([batch("a", body=body)]))
    assert await figures(outbox_part, "SELECT length(body) FROM outbox_bodies") < len(body) / 10
    [due] = await claim(outbox)
    assert due.batch.body == body
    await outbox.settle(due, delivered())
    assert await figures(outbox_part, "SELECT count(*) FROM outbox_bodies") == 0
    assert await figures(outbox_part, "SELECT count(*) FROM outbox_batches") == 0


async def test_what_was_given_up_is_kept_two_weeks(outbox_part: Database, clock: ManualClock) -> None:
    """With its body, for whoever wants to know what the customer did not get; counters remember it for ever."""
    outbox = DatabaseOutbox(outbox_part, clock)
    await outbox.put(envelope([line()], seq=1), Cut([batch("a", body=b"[1]")]))
    [due] = await claim(outbox)
    await outbox.settle(due, given_up())
    clock.advance(GIVEN_UP_KEPT_MS / 1000 - 60)
    await outbox.tidy()
    assert await figures(outbox_part, "SELECT count(*) FROM outbox_bodies") == 1
    clock.advance(120)
    await outbox.tidy()
    assert await figures(outbox_part, "SELECT count(*) FROM outbox_bodies") == 0
    assert (await outbox.counts()).given_up_batches == 1


async def test_two_claimers_never_hold_the_same_batch(outbox_part: Database, clock: ManualClock) -> None:
    """However many ask at once."""
    outbox = DatabaseOutbox(outbox_part, clock)
    await outbox.put(envelope([line()]), Cut([batch(str(number)) for number in range(100)]))
    claims = await asyncio.gather(*(claim(outbox, count_max=13) for _ in range(10)))
    found = [each for claimed in claims for each in ids(claimed)]
    assert len(found) == len(set(found)) == 100


async def plan(database: Database, question: str) -> list[str]:
    """How SQLite would answer it."""
    values = (0,) * question.count("?")

    def work(connection: Connection) -> list[str]:
        return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {question}", values)]

    return await database.read(work)


async def test_a_long_backlog_costs_a_look_nothing(outbox_part: Database) -> None:
    """What is due and what may be joined is read from an index, in its order: SQLite would read and sort whole tables."""
    if not isinstance(outbox_part.product, Sqlite):
        return
    for statement in (DUE, OPEN_SEGMENTS, OPEN, FIRST, FREE, TAKE):
        steps = await plan(outbox_part, str(statement.compile(dialect=sqlite_dialect())))
        assert not [each for each in steps if "TEMP B-TREE" in each]
        allowed = {"SCAN outbox_lanes", "SCAN first"}  # a row for each webhook, and what was just found
        scans = {each for each in steps if each.startswith("SCAN") and "USING COVERING INDEX" not in each}
        assert scans <= allowed, steps
