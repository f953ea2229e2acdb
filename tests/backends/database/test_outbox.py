"""The outbox in a database, where the contract's suite cannot look: whole or not at all, small, and pruned."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from tests.backends.database.conftest import Start, opened
from tests.builders import envelope, line

from omni_etl.backends.database.engine import Database, open_database
from omni_etl.backends.database.outbox import GIVEN_UP_KEPT_MS, DatabaseOutbox
from omni_etl.clock import ManualClock
from omni_etl.outbox import Batch, OutboxCounts


def batch(name: str, body: bytes = b"[]") -> Batch:
    """A batch of one event."""
    return Batch(name, "w", "https://x.test/", {}, body, 1)


async def figures(database: Database, sql: str) -> int:
    """One number."""
    async with database.reading() as connection:
        value: int = (await connection.execute(text(sql))).scalar_one()
        return value


async def test_a_put_that_fails_leaves_no_note(outbox_part: Database, clock: ManualClock) -> None:
    """Neither in the ledger nor in the counters nor in the batches: the redo is a first time."""
    outbox = DatabaseOutbox(outbox_part, clock)
    await outbox.put(envelope([line()], seq=1), [batch("a")])
    with pytest.raises(IntegrityError):
        await outbox.put(envelope([line()], seq=2), [batch("b"), batch("a")])
    assert await outbox.counts() == OutboxCounts(1, 1, 0, 0, 0, 0)
    assert await outbox.put(envelope([line()], seq=2), [batch("b")])


async def test_ledger_batches_and_counters_agree_after_a_kill(
    database_url: str, clock: ManualClock, start: Start
) -> None:
    """Kill -9 in the middle of puts: every envelope is in all three of them or in none."""
    process = start(PUTTER.format(url=database_url))
    assert process.stdout is not None
    confirmed = [process.stdout.readline() for _ in range(10)]
    process.kill()
    confirmed += [each for each in process.stdout if each.endswith("\n")]
    async with opened(open_database(database_url, "outbox", clock)) as database:
        counts = await DatabaseOutbox(database, clock).counts()
        tables = ("webhooks_ledger", "outbox_batches", "outbox_bodies")
        noted, batches, bodies = [await figures(database, f"SELECT count(*) FROM {each}") for each in tables]
    assert noted >= len(confirmed)
    assert (counts.waiting_batches, counts.waiting_events) == (noted * 40, noted * 4_000)
    assert batches == bodies == noted * 40


PUTTER = """
import asyncio
from omni_etl.backends.database import DatabaseOutbox, open_database
from omni_etl.clock import SystemClock
from omni_etl.envelope import Envelope, Header
from omni_etl.outbox import Batch

async def main():
    clock = SystemClock()
    outbox = DatabaseOutbox(open_database("{url}", "outbox", clock), clock)
    await outbox.open()
    seq = 0
    while True:
        header = Header(hose_id="h", lane="bulk", seq=seq, cut_at_ms=0, event_count=0, raw_bytes=0, checksum="c",
                        types=(), last_seq={{}}, accepted_count=0)
        batches = [Batch(f"{{seq}}-{{each}}", "w", "https://x.test/", {{}}, bytes(30_000), 100) for each in range(40)]
        assert await outbox.put(Envelope(header, b""), batches)
        print(seq, flush=True)
        seq += 1

asyncio.run(main())
"""


async def test_bodies_are_small_on_disk_and_gone_after_delivery(outbox_part: Database, clock: ManualClock) -> None:
    """JSON of a hundred events shrinks a lot, and what was delivered is not kept."""
    outbox = DatabaseOutbox(outbox_part, clock)
    body = b'[{"type":"delivery","rcpt_to":"someone@example.com"}]' * 500
    await outbox.put(envelope([line()]), [batch("a", body)])
    assert await figures(outbox_part, "SELECT length(body) FROM outbox_bodies") < len(body) / 10
    [due] = await outbox.claim(count_max=1, claim_seconds=30)
    assert due.batch.body == body
    await outbox.delivered(due, 200)
    assert await figures(outbox_part, "SELECT count(*) FROM outbox_bodies") == 0
    assert await figures(outbox_part, "SELECT count(*) FROM outbox_batches") == 0


async def test_what_was_given_up_is_kept_two_weeks(outbox_part: Database, clock: ManualClock) -> None:
    """With its body, for whoever wants to know what the customer did not get; counters remember it for ever."""
    outbox = DatabaseOutbox(outbox_part, clock)
    await outbox.put(envelope([line()], seq=1), [batch("a", b"[1]")])
    [due] = await outbox.claim(count_max=1, claim_seconds=30)
    await outbox.failed(due, "410", retry_in_seconds=None)
    clock.advance(GIVEN_UP_KEPT_MS / 1000 - 60)
    await outbox.put(envelope([line()], seq=2), [])
    assert await figures(outbox_part, "SELECT count(*) FROM outbox_bodies") == 1
    clock.advance(120)
    await outbox.put(envelope([line()], seq=3), [])
    assert await figures(outbox_part, "SELECT count(*) FROM outbox_bodies") == 0
    assert (await outbox.counts()).given_up_batches == 1


async def test_two_claimers_never_hold_the_same_batch(outbox_part: Database, clock: ManualClock) -> None:
    """However many ask at once."""
    outbox = DatabaseOutbox(outbox_part, clock)
    await outbox.put(envelope([line()]), [batch(str(number)) for number in range(100)])
    claims = await asyncio.gather(*(outbox.claim(count_max=13, claim_seconds=30) for _ in range(10)))
    ids = [due.batch.id for claimed in claims for due in claimed]
    assert len(ids) == len(set(ids)) == 100
