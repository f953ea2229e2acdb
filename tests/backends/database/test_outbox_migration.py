"""Migration outbox_0003: what an older program left waits on, under the same ids and bytes; its figures are in lanes."""

from typing import Any

import zstandard
from sqlalchemy import text
from tests.backends.database.conftest import older, opened
from tests.outboxes import claim, ids

from omni_etl.backends.database.deliveries import DatabaseDeliveries
from omni_etl.backends.database.engine import open_database
from omni_etl.backends.database.outbox import DatabaseOutbox
from omni_etl.clock import ManualClock
from omni_etl.outbox import Lane, OutboxCounts, Wanted

BATCH = """
INSERT INTO outbox_batches (id, webhook_id, target, headers, event_count, state, attempts, cut_at_ms, due_at_ms, claim)
VALUES (:id, :webhook_id, 'https://x.test/', '{"X-One": "1"}', :event_count, :state, :attempts, 1, 2, :claim)
"""


def body(number: int) -> bytes:
    """As it was kept."""
    return zstandard.compress(b'[{"n":%d}]' % number)


def row(number: int, webhook_id: str, state: str = "waiting", *, attempts: int = 0) -> dict[str, Any]:
    """As many events as its number."""
    claim = "lapsed" if number == 1 else None
    batch = {"id": f"batch-{number}", "webhook_id": webhook_id, "event_count": number, "state": state}
    return {**batch, "attempts": attempts, "claim": claim}


async def test_an_older_outbox_is_kept(database_url: str, clock: ManualClock) -> None:
    """Tried or not, given up, claimed; deliveries until then count in one lane that is nobody's."""
    rows = [row(1, "w"), row(2, "w", attempts=3), row(3, "w", "given_up", attempts=9), row(4, "v", "given_up")]
    async with older(database_url, "outbox", "outbox_0002") as connection:
        await connection.execute(text(BATCH), rows)
        bodies = [{"batch_id": f"batch-{number}", "body": body(number)} for number in range(1, 5)]
        await connection.execute(text("INSERT INTO outbox_bodies (batch_id, body) VALUES (:batch_id, :body)"), bodies)
        last = "INSERT INTO outbox_last_attempts VALUES ('w', 10, 20), ('u', 30, NULL)"
        counters = "UPDATE outbox_counters SET waiting_batches = 2, delivered_batches = 5, delivered_events = 50"
        ledger = "INSERT INTO webhooks_ledger VALUES ('key', 'checksum', 1)"
        for statement in (last, counters, ledger):
            await connection.execute(text(statement))
    async with opened(open_database(database_url, "outbox", clock)) as database:
        outbox, deliveries = DatabaseOutbox(database, clock), DatabaseDeliveries(database, clock)
        assert await outbox.counts() == OutboxCounts(2, 3, 5, 50, 2, 7)
        lanes = await deliveries.lanes(["u", "v", "w", ""])
        assert lanes == {
            "": Lane("", delivered_batches=5, delivered_events=50),
            "u": Lane("u", succeeded_at_ms=30),
            "v": Lane("v", given_up_batches=1, given_up_events=4),
            "w": Lane("w", 2, 3, len(body(1)) + len(body(2)), 0, 0, 1, 3, succeeded_at_ms=10, failed_at_ms=20),
        }
        assert ids(await outbox.claim({"w": Wanted(retries=9)}, claim_seconds=30)) == ["batch-2"]
        [fresh] = await claim(outbox)
        assert (fresh.batch.id, fresh.batch.body, fresh.batch.parent_id) == ("batch-1", b'[{"n":1}]', None)
        assert await deliveries.retry("w", count_max=9) == 1
        async with database.reading() as connection:
            assert (await connection.execute(text("SELECT key FROM webhooks_ledger"))).scalars().all() == ["key"]


async def test_an_empty_older_outbox_has_no_lanes(database_url: str, clock: ManualClock) -> None:
    """Not even nobody's."""
    async with older(database_url, "outbox", "outbox_0002"):
        pass
    async with opened(open_database(database_url, "outbox", clock)) as database:
        assert await DatabaseOutbox(database, clock).counts() == OutboxCounts(0, 0, 0, 0, 0, 0)
        assert await DatabaseDeliveries(database, clock).waiting() == []
