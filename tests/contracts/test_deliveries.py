"""The contract of deliveries: what customers see of attempts is what the outbox was told, and no more than a day old."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from tests.builders import envelope, line

from omni_etl.backends.database import DatabaseDeliveries, DatabaseOutbox, open_database
from omni_etl.backends.database.deliveries import LAST_KEPT_MS, TROUBLES_KEPT_MS
from omni_etl.backends.database.engine import Database
from omni_etl.clock import ManualClock
from omni_etl.outbox import Batch, Deliveries, DueBatch, LastAttempts, Outbox, Trouble


@pytest.fixture
async def part(database_url: str, clock: ManualClock) -> AsyncIterator[Database]:
    """Where both live."""
    database = open_database(database_url, "outbox", clock)
    await database.open(clock)
    yield database
    await database.close(clock)


@pytest.fixture
def outbox(part: Database, clock: ManualClock) -> Outbox:
    """Where attempts are told."""
    return DatabaseOutbox(part, clock)


@pytest.fixture
def deliveries(part: Database, clock: ManualClock) -> Deliveries:
    """The subject."""
    return DatabaseDeliveries(part, clock)


def now_ms(clock: ManualClock) -> int:
    """As tables count it."""
    return int(clock.now() * 1000)


async def claimed(outbox: Outbox, *names: str, webhook_id: str = "w") -> list[DueBatch]:
    """New batches of three events each."""
    batches = [Batch(name, webhook_id, "https://x.test/", {}, b"[]", 3) for name in names]
    return await outbox.put_claimed(envelope([line()], seq=int(names[0], 36)), batches, claim_seconds=30)


async def test_a_webhook_without_attempts_has_none(deliveries: Deliveries) -> None:
    """Nothing is made up."""
    assert await deliveries.last(["w"]) == {}
    assert await deliveries.last([]) == {}
    assert await deliveries.troubles("w", count_max=10) == []


async def test_the_last_success_and_failure_are_known(
    outbox: Outbox, deliveries: Deliveries, clock: ManualClock
) -> None:
    """Each by itself, the newest of each, of the webhooks that are asked for."""
    one, two, three, other = await claimed(outbox, "1", "2", "3", "4")
    began_ms = now_ms(clock)
    await outbox.delivered(one, 200)
    assert await deliveries.last(["w"]) == {"w": LastAttempts(began_ms, None)}
    clock.advance(1)
    await outbox.failed(two, "500", retry_in_seconds=60)
    many = [str(number) for number in range(70_000)]
    assert await deliveries.last([*many, "w", "v"]) == {"w": LastAttempts(began_ms, began_ms + 1_000)}
    clock.advance(1)
    await outbox.delivered(three, 200)
    [foreign] = await claimed(outbox, "5", webhook_id="v")
    await outbox.delivered(foreign, 200)
    assert await deliveries.last(["w"]) == {"w": LastAttempts(began_ms + 2_000, began_ms + 1_000)}
    assert not await outbox.delivered(three, 200)
    clock.advance(1)
    assert not await outbox.failed(DueBatch(other.batch, "lapsed", 0, 0), "500", retry_in_seconds=None)
    assert await deliveries.last(["w"]) == {"w": LastAttempts(began_ms + 2_000, began_ms + 1_000)}


async def test_a_batch_in_trouble_is_told_of(outbox: Outbox, deliveries: Deliveries, clock: ManualClock) -> None:
    """As it was after its last attempt: it waits, it went through, it was given up. One that went through at once: never."""
    fine, slow, lost = await claimed(outbox, "fine", "slow", "lost")
    await outbox.delivered(fine, 200, latency_ms=5)
    await outbox.failed(slow, "503", retry_in_seconds=60, latency_ms=7)
    at_ms = now_ms(clock)
    waits = Trouble("slow", 3, 1, "503", is_delivered=False, latency_ms=7, at_ms=at_ms)
    assert await deliveries.troubles("w", count_max=10) == [waits]
    clock.advance(1)
    await outbox.failed(lost, "timeout after 10 s", retry_in_seconds=None, latency_ms=10_000)
    gone = Trouble("lost", 3, 1, "timeout after 10 s", is_delivered=False, latency_ms=10_000, at_ms=at_ms + 1_000)
    assert await deliveries.troubles("w", count_max=10) == [gone, waits]
    clock.advance(60)
    [again] = await outbox.claim(count_max=9, claim_seconds=30)
    await outbox.delivered(again, 202, latency_ms=9)
    went = Trouble("slow", 3, 1, "202", is_delivered=True, latency_ms=9, at_ms=at_ms + 61_000)
    assert await deliveries.troubles("w", count_max=10) == [went, gone]
    assert await deliveries.troubles("w", count_max=1) == [went]
    assert await deliveries.troubles("v", count_max=10) == []


async def test_what_is_old_is_not_told_and_leaves(
    outbox: Outbox, deliveries: Deliveries, part: Database, clock: ManualClock
) -> None:
    """Troubles after a day, last attempts after a year without any; the rows go with them."""
    [due] = await claimed(outbox, "1")
    await outbox.failed(due, "500", retry_in_seconds=None)
    clock.advance(TROUBLES_KEPT_MS / 1000)
    assert await deliveries.troubles("w", count_max=10) == []
    clock.advance(1)
    await claimed(outbox, "2")
    assert await rows(part) == (0, 1)
    assert len(await deliveries.last(["w"])) == 1
    clock.advance(LAST_KEPT_MS / 1000)
    await claimed(outbox, "3")
    assert await rows(part) == (0, 0)


async def rows(part: Database) -> tuple[int, int]:
    """How many there are."""
    async with part.reading() as connection:
        tables = ("outbox_troubles", "outbox_last_attempts")
        troubles, last = [
            int((await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()) for table in tables
        ]
        return troubles, last
