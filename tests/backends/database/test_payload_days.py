"""Payloads by day: made ahead, dropped when over and done, and in nobody's way."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from tests.postgresql_server import PostgresqlServer

from omni_etl.backends.database.engine import Database, open_database
from omni_etl.backends.database.payload_days import DAY_MS, DAYS_AHEAD, PAUSE_SECONDS, PREFIX
from omni_etl.backends.database.queue import DatabaseQueue
from omni_etl.clock import ManualClock
from omni_etl.envelope import SealedEnvelope
from omni_etl.errors import UnavailableError
from omni_etl.queue import Lease, siding

DAY_SECONDS = DAY_MS / 1000
ASIDE = siding("metrics")
SEALED = SealedEnvelope("{}", b"payload")


@pytest.fixture
def database_url(postgresql_url: str) -> str:
    """PostgreSQL alone has days."""
    return postgresql_url


@pytest.fixture
async def queue(queue_part: Database, clock: ManualClock) -> AsyncIterator[DatabaseQueue]:
    """Open, with its lanes and a siding."""
    subject = DatabaseQueue(queue_part, clock)
    await subject.open(["express", "bulk", ASIDE])
    yield subject
    await subject.close()


async def receive(queue: DatabaseQueue, name: str = "bulk") -> list[Lease]:
    """What is ready now."""
    return await queue.receive(name, count_max=10, wait_seconds=0, lease_seconds=30)


async def days(database: Database) -> list[int]:
    """The partitions there are."""
    statement = text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'queue_payload_day_%'")
    async with database.reading() as connection:
        return sorted(int(name.removeprefix(PREFIX)) for name in (await connection.execute(statement)).scalars())


def today(clock: ManualClock) -> int:
    """Since the epoch."""
    return int(clock.now() // DAY_SECONDS)


async def rows(database: Database, table: str) -> int:
    """How many there are."""
    async with database.reading() as connection:
        return int((await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())


async def test_days_are_made_ahead(queue: DatabaseQueue, queue_part: Database, clock: ManualClock) -> None:
    """By the first send, and by whoever receives, so that midnight finds its day."""
    await queue.send("bulk", [SEALED])
    first = today(clock)
    assert await days(queue_part) == [*range(first, first + DAYS_AHEAD + 1)]
    clock.advance(DAY_SECONDS)
    await receive(queue)
    assert (await days(queue_part))[-1] == first + DAYS_AHEAD + 1


async def test_a_day_is_dropped_when_it_is_over_and_done(
    queue: DatabaseQueue, queue_part: Database, clock: ManualClock
) -> None:
    """A message takes nothing with it but its row; its payload goes with its day, two days later at the latest."""
    first = today(clock)
    await queue.send("bulk", [SEALED] * 10)
    await queue.delete(await receive(queue))
    assert (await rows(queue_part, "queue_messages"), await rows(queue_part, "queue_payload_days")) == (0, 10)
    clock.advance(DAY_SECONDS)
    await receive(queue)
    assert first in await days(queue_part)
    clock.advance(DAY_SECONDS)
    await receive(queue)
    assert first not in await days(queue_part)
    assert await rows(queue_part, "queue_payload_days") == 0


async def test_a_message_holds_its_day(queue: DatabaseQueue, queue_part: Database, clock: ManualClock) -> None:
    """And every later one, leased or not, in either lane; with the last of them it goes."""
    first = today(clock)
    await queue.send("express", [SEALED])
    for _ in range(4):
        clock.advance(DAY_SECONDS)
        await queue.release(await receive(queue, "express"))
    assert (await days(queue_part))[0] == first
    [lease] = await receive(queue, "express")
    assert lease.envelope == SEALED
    await queue.delete([lease])
    clock.advance(PAUSE_SECONDS + 1)
    await receive(queue)
    assert (await days(queue_part))[0] == today(clock) - 1


async def test_what_is_put_aside_holds_no_day(queue: DatabaseQueue, queue_part: Database, clock: ManualClock) -> None:
    """It may wait for weeks; its payload is a row that goes with it."""
    first = today(clock)
    await queue.send("bulk", [SEALED])
    await queue.send(ASIDE, [SEALED])
    await queue.delete(await receive(queue))
    clock.advance(2 * DAY_SECONDS)
    [lease] = await receive(queue, ASIDE)
    assert first not in await days(queue_part)
    assert lease.envelope == SEALED
    await queue.delete([lease])
    assert await rows(queue_part, "queue_payloads") == 0


async def test_a_claim_and_a_delete_touch_no_other_day(
    queue: DatabaseQueue, queue_part: Database, clock: ManualClock
) -> None:
    """Somebody has every other day's partition for himself, and a delete needs not even its own."""
    await queue.send("bulk", [SEALED])
    mine = today(clock)
    async with queue_part.writing() as connection:
        for day in await days(queue_part):
            if day != mine:
                await connection.execute(text(f"LOCK TABLE {PREFIX}{day} IN ACCESS EXCLUSIVE MODE"))
        leases = await receive(queue)
        await connection.execute(text(f"LOCK TABLE {PREFIX}{mine} IN ACCESS EXCLUSIVE MODE"))
        await queue.delete(leases)
    assert [lease.envelope for lease in leases] == [SEALED]


async def test_a_drop_waits_for_nobody_for_long(queue: DatabaseQueue, queue_part: Database, clock: ManualClock) -> None:
    """While a backup reads, the day stays, senders go on, and the next minute tries again."""
    first = today(clock)
    await queue.send("bulk", [SEALED])
    await queue.delete(await receive(queue))
    clock.advance(2 * DAY_SECONDS)
    async with queue_part.reading() as backup:
        await backup.execute(text("SELECT count(*) FROM queue_payload_days"))
        assert await receive(queue) == []
        await queue.send("bulk", [SEALED])
        assert first in await days(queue_part)
    clock.advance(PAUSE_SECONDS + 1)
    assert len(await receive(queue)) == 1
    assert first not in await days(queue_part)


async def test_a_sender_whose_clock_is_days_behind_loses_nothing(
    queue: DatabaseQueue, queue_part: Database, clock: ManualClock, database_url: str
) -> None:
    """Its day was dropped under it: it is told that the send failed, and the next one makes the day anew."""
    slow_clock = ManualClock()
    slow = DatabaseQueue(open_database(database_url, "queue", slow_clock), slow_clock)
    await slow.open(["bulk"])
    await slow.send("bulk", [SEALED])
    await queue.delete(await receive(queue))
    clock.advance(3 * DAY_SECONDS)
    await receive(queue)
    assert today(slow_clock) not in await days(queue_part)
    with pytest.raises(UnavailableError, match="no partition"):
        await slow.send("bulk", [SEALED])
    await slow.send("bulk", [SEALED])
    assert [lease.envelope for lease in await receive(queue)] == [SEALED]
    await slow.close()


async def test_a_send_in_the_middle_of_a_drop_is_whole_or_nothing(
    queue: DatabaseQueue, queue_part: Database, clock: ManualClock, postgresql: PostgresqlServer, database_url: str
) -> None:
    """The drop looks again behind its lock, so a message never stays without its payload."""
    first = today(clock)
    await queue.send("bulk", [SEALED])
    await queue.delete(await receive(queue))
    clock.advance(2 * DAY_SECONDS)
    async with queue_part.writing() as sender:
        message = "INSERT INTO queue_messages VALUES (DEFAULT, 'bulk', 0, NULL, 0, :sent) RETURNING id"
        id_ = (await sender.execute(text(message), {"sent": first * DAY_MS})).scalar_one()
        payload = "INSERT INTO queue_payload_days VALUES (:day, :id, '{}', 'payload')"
        await sender.execute(text(payload), {"day": first, "id": id_})
        dropping = asyncio.create_task(queue._payloads.tend())
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while not int(postgresql.sql(waiting, url=database_url)):
            await asyncio.sleep(0)
    await dropping
    assert first in await days(queue_part)
    assert [lease.envelope for lease in await receive(queue)] == [SEALED]


async def test_senders_at_the_same_time_make_a_day_once(clock: ManualClock, database_url: str) -> None:
    """Each with connections of its own, as processes have."""
    queues = [DatabaseQueue(open_database(database_url, "queue", clock), clock) for _ in range(5)]
    await asyncio.gather(*(each.open(["bulk"]) for each in queues))
    await asyncio.gather(*(each.send("bulk", [SEALED]) for each in queues))
    assert len(await receive(queues[0])) == 5
    for each in queues:
        await each.close()
