"""The queue in a database, where the contract's suite cannot look: many processes, a kill, a file that must not grow."""

import asyncio
import threading

import pytest
import structlog
from sqlalchemy import text
from tests.backends.database.conftest import Start, until_blocked

from omni_etl.backends.database.engine import Database, open_database
from omni_etl.backends.database.queue import EXPIRED_ROWS_MAX, DatabaseQueue
from omni_etl.clock import ManualClock, SystemClock
from omni_etl.envelope import SealedEnvelope
from omni_etl.queue import LANE_RETENTION_SECONDS, batches


def sealed(number: int, size_bytes: int = 1_000) -> SealedEnvelope:
    """An envelope whose payload shows whether it is whole."""
    return SealedEnvelope(str(number), number.to_bytes(4, "big") * (size_bytes // 4))


async def test_two_claimers_never_hold_the_same_envelope(queue_url: str, clock: ManualClock) -> None:
    """Four of them, each with connections of its own in a thread of its own, as four processes would have."""
    queue = DatabaseQueue(open_database(queue_url, "queue", clock), clock)
    await queue.open(["bulk"])
    for batch in batches([sealed(number) for number in range(300)], 10):
        await queue.send("bulk", batch)
    await queue.close()
    taken: list[str] = []

    async def claim_all() -> None:
        claimer = DatabaseQueue(open_database(queue_url, "queue", clock), clock)
        await claimer.open(["bulk"])
        while leases := await claimer.receive("bulk", count_max=7, wait_seconds=0, lease_seconds=30):
            taken.extend(lease.envelope.header for lease in leases)
        await claimer.close()

    threads = [threading.Thread(target=lambda: asyncio.run(claim_all())) for _ in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
    assert sorted(taken, key=int) == [str(number) for number in range(300)]


async def test_what_was_confirmed_outlives_a_kill(queue_url: str, start: Start) -> None:
    """Kill -9 in the middle of sends: every confirmed envelope is there, whole and once, and no batch is there in part."""
    process = start(SENDER.format(url=queue_url))
    assert process.stdout is not None
    first = [process.stdout.readline() for _ in range(10)]
    process.kill()
    confirmed = {int(line) for line in first + process.stdout.readlines() if line.endswith("\n")}
    clock = SystemClock()
    queue = DatabaseQueue(open_database(queue_url, "queue", clock), clock)
    await queue.open(["bulk"])
    found: list[int] = []
    while leases := await queue.receive("bulk", count_max=10, wait_seconds=0, lease_seconds=60):
        assert all(lease.envelope == sealed(int(lease.envelope.header), 100_000) for lease in leases)
        found.extend(int(lease.envelope.header) for lease in leases)
        await queue.delete(leases)
    await queue.close()
    assert len(found) == len(set(found))
    assert {each // 10 for each in found} >= confirmed
    assert len(found) % 10 == 0


SENDER = """
import asyncio
from omni_etl.backends.database import DatabaseQueue, open_database
from omni_etl.clock import SystemClock
from omni_etl.envelope import SealedEnvelope

async def main():
    clock = SystemClock()
    queue = DatabaseQueue(open_database("{url}", "queue", clock), clock)
    await queue.open(["bulk"])
    batch = 0
    while True:
        numbers = range(batch * 10, batch * 10 + 10)
        sealed = [SealedEnvelope(str(number), number.to_bytes(4, "big") * 25_000) for number in numbers]
        assert await queue.send("bulk", sealed) == {{}}
        print(batch, flush=True)
        batch += 1

asyncio.run(main())
"""


async def test_a_send_of_another_process_is_found_at_the_next_look(queue_url: str, clock: ManualClock) -> None:
    """Nothing wakes a receiver across processes but its own short poll."""
    receiver = DatabaseQueue(open_database(queue_url, "queue", clock), clock, poll_seconds=0.1)
    sender = DatabaseQueue(open_database(queue_url, "queue", clock), clock)
    await receiver.open(["bulk"])
    await sender.open(["bulk"])
    waiting = asyncio.create_task(receiver.receive("bulk", count_max=10, wait_seconds=20, lease_seconds=30))
    while not clock._sleepers:
        await asyncio.sleep(0)
    await sender.send("bulk", [sealed(1)])
    clock.advance(0.1)
    assert len(await asyncio.wait_for(waiting, 5)) == 1
    await receiver.close()
    await sender.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_file_does_not_grow_at_steady_state(queue_part: Database, clock: ManualClock) -> None:
    """Pages of deleted envelopes are used again."""
    queue = DatabaseQueue(queue_part, clock)
    await queue.open(["bulk"])

    async def turn_over() -> int:
        for number in range(20):
            await queue.send("bulk", [sealed(number, 100_000)] * 5)
            await queue.delete(await queue.receive("bulk", count_max=5, wait_seconds=0, lease_seconds=30))
        async with queue_part.reading() as connection:
            pages: int = (await connection.execute(text("PRAGMA page_count"))).scalar_one()
        return pages

    first = await turn_over()
    assert await turn_over() <= first
    await queue.close()


async def test_what_is_too_old_is_dropped_in_bites_and_told(queue_part: Database, clock: ManualClock) -> None:
    """A thousand payloads deleted at once would hold up every sender; and nobody drops an envelope in silence."""
    queue = DatabaseQueue(queue_part, clock)
    await queue.open(["bulk"])
    for batch in batches([sealed(number) for number in range(EXPIRED_ROWS_MAX + 10)], 10):
        await queue.send("bulk", batch)
    clock.advance(LANE_RETENTION_SECONDS + 1)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await queue.receive("other", count_max=10, wait_seconds=0, lease_seconds=30)
    assert [(each["event"], each["queue"], each["count"]) for each in logs] == [
        ("queue_envelopes_expired", "bulk", EXPIRED_ROWS_MAX),
        ("queue_envelopes_expired", "bulk", 10),
    ]
    assert (await queue.depth("bulk")).ready == 0
    await queue.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_look_reads_an_index_and_no_payload(queue_part: Database) -> None:
    """With a million envelopes waiting, the poll and the claim still cost the same."""
    plan = """EXPLAIN QUERY PLAN SELECT id FROM queue_messages
        WHERE queue_name = 'bulk' AND ready_at_ms <= 5 ORDER BY ready_at_ms LIMIT 10"""
    async with queue_part.reading() as connection:
        steps = [row.detail for row in await connection.execute(text(plan))]
    assert steps == ["SEARCH queue_messages USING COVERING INDEX queue_messages_ready (queue_name=? AND ready_at_ms<?)"]


async def test_renewals_and_deletes_at_the_same_time_never_wait_crosswise(
    queue_part: Database, clock: ManualClock
) -> None:
    """Whatever the order of the leases in each call: PostgreSQL would end one of them as a deadlock."""
    queue = DatabaseQueue(queue_part, clock)
    await queue.open(["bulk"])
    await queue.send("bulk", [sealed(number) for number in range(10)])
    leases = await queue.receive("bulk", count_max=10, wait_seconds=0, lease_seconds=30)
    async with queue_part.writing() as connection:  # where both come by, each from its side
        middle = {"id": int(leases[5].receipt.partition(".")[0])}
        await connection.execute(text("UPDATE queue_messages SET sent_at_ms = sent_at_ms WHERE id = :id"), middle)
        calls = [asyncio.create_task(queue.extend(leases, lease_seconds=60))]
        await until_blocked(queue_part)
        calls.append(asyncio.create_task(queue.delete(leases[::-1])))
        await until_blocked(queue_part, 2)
    assert await asyncio.gather(*calls) == [{}, {}]
    assert (await queue.depth("bulk")).leased == 0
    await queue.close()
