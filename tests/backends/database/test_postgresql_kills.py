"""kill -9 of the PostgreSQL server under load, again and again: nothing that was confirmed is lost, nothing comes twice."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count

from tests.builders import envelope, line
from tests.outboxes import batch, claim, closing, delivered, segment
from tests.postgresql_server import postgresql_server

from omni_etl.backends.database import DatabaseOutbox, DatabaseQueue, DatabaseSuppressionList, open_database
from omni_etl.clock import Clock, SystemClock
from omni_etl.envelope import SealedEnvelope
from omni_etl.errors import UnavailableError
from omni_etl.outbox import Cut, Wanted
from omni_etl.queue import Lease, siding
from omni_etl.services.suppressions import sayings_of

KILLS = 3
ASIDE = siding("metrics")


@dataclass
class Work:
    """What was confirmed so far; unconfirmed work is repeated, but never under another name."""

    tried: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)
    received: list[str] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    put: int = 0
    delivered: int = 0
    applied: int = 0


async def test_a_killed_server_loses_and_doubles_nothing() -> None:
    """Queue (lane and siding), outbox and suppressions, each worked on by several at once."""
    work, clock, done = Work(), SystemClock(), asyncio.Event()
    with postgresql_server() as server:
        url = server.empty_database()
        queue = DatabaseQueue(open_database(url, "queue", clock), clock, poll_seconds=0.01)
        outbox = DatabaseOutbox(open_database(url, "outbox", clock), clock)
        listed = DatabaseSuppressionList(open_database(url, "control", clock), clock)
        await queue.open(["bulk", ASIDE])
        await outbox.open()
        await listed.open()
        workers = [send(queue, name, work) for name in ("bulk", "bulk", ASIDE)]
        workers += [receive(queue, name, work) for name in ("bulk", "bulk", ASIDE)]
        workers += [put(outbox, work), join(outbox), deliver(outbox, work), apply(listed, work)]
        running = [asyncio.create_task(until(done, clock, each)) for each in workers]
        for _ in range(KILLS):
            before = Work(
                set(work.tried), set(work.sent), [*work.received], set(work.deleted), work.put, work.delivered
            )
            while not (
                len(work.deleted) >= len(before.deleted) + 50
                and work.put >= before.put + 10
                and work.delivered >= before.delivered + 10
                and work.applied >= before.applied + 10
            ):
                await clock.sleep(0.01)
                assert not any(each.done() for each in running)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        done.set()
        await asyncio.gather(*running)
        for step in (put(outbox, work), apply(listed, work)):
            await step()  # the last one's answer may have been lost: said again, it is known
        await drain(queue, work)
        assert work.sent <= set(work.received) <= work.tried
        assert len(work.received) == len(set(work.received))
        counts = await outbox.counts()
        assert counts.waiting_events + counts.delivered_events == work.put * 41
        assert counts.delivered_batches >= work.delivered
        await outbox.join([closing()], claim_seconds=30)
        while (
            counts := await outbox.counts()
        ).waiting_events:  # until the claims lapse of those whose answers were lost
            due = await claim(outbox, count_max=100)
            await asyncio.gather(*(outbox.settle(each, delivered()) for each in due))
        assert counts.delivered_events == work.put * 41
        assert await listed.count() == work.applied
        for each in (queue, outbox, listed):
            await each.close()


async def until(done: asyncio.Event, clock: Clock, step: Callable[[], Awaitable[None]]) -> None:
    """Work, and after an outage do the same again."""
    while not done.is_set():
        try:
            await step()
        except UnavailableError:
            await clock.sleep(0.02)


def send(queue: DatabaseQueue, name: str, work: Work) -> Callable[[], Awaitable[None]]:
    """Three envelopes a call; what is unknown is not sent again, so that every name is sent once at most."""
    numbers = count()
    mine = f"{name}-{id(numbers)}"

    async def step() -> None:
        batch = [SealedEnvelope(f"{mine}-{next(numbers)}", bytes(50_000)) for _ in range(3)]
        work.tried |= {each.header for each in batch}
        assert await queue.send(name, batch) == {}
        work.sent |= {each.header for each in batch}

    return step


def receive(queue: DatabaseQueue, name: str, work: Work) -> Callable[[], Awaitable[None]]:
    """A delete that is unknown is repeated, as settle would."""
    waiting: list[Lease] = []

    async def step() -> None:
        if not waiting:
            waiting.extend(await queue.receive(name, count_max=10, wait_seconds=0.1, lease_seconds=600))
            work.received.extend(each.envelope.header for each in waiting)
        await queue.delete(waiting)
        work.deleted |= {each.envelope.header for each in waiting}
        waiting.clear()

    return step


async def drain(queue: DatabaseQueue, work: Work) -> None:
    """What is left, and what was leased in a call whose answer was lost."""
    async with queue._database.writing() as connection:
        await connection.exec_driver_sql("UPDATE queue_messages SET ready_at_ms = 0")
    for name in ("bulk", ASIDE):
        while leases := await queue.receive(name, count_max=10, wait_seconds=0, lease_seconds=600):
            headers = {each.envelope.header for each in leases}
            assert not headers & work.deleted
            work.received.extend(headers - set(work.received))
            await queue.delete(leases)


def put(outbox: DatabaseOutbox, work: Work) -> Callable[[], Awaitable[None]]:
    """The same envelope until it is known to be in; its batches are there once."""

    async def step() -> None:
        batches = [batch(f"{work.put}-{each}") for each in range(40)]
        await outbox.put(envelope([line()], seq=work.put), Cut(batches, [segment(str(work.put), 1)]))
        work.put += 1

    return step


def deliver(outbox: DatabaseOutbox, work: Work) -> Callable[[], Awaitable[None]]:
    """As many at once as are due."""

    async def step() -> None:
        due = await outbox.claim({"w": Wanted(fresh=20)}, claim_seconds=1)
        work.delivered += sum(await asyncio.gather(*(outbox.settle(each, delivered()) for each in due)))

    return step


def join(outbox: DatabaseOutbox) -> Callable[[], Awaitable[None]]:
    """Whatever does not make a whole batch too."""

    async def step() -> None:
        await outbox.join([closing(events_max=5, is_everything=False)], claim_seconds=1)

    return step


def apply(listed: DatabaseSuppressionList, work: Work) -> Callable[[], Awaitable[None]]:
    """One address an envelope, until it is known to be in."""

    async def step() -> None:
        bounced = envelope([line("spam_complaint", rcpt_to=f"{work.applied}@example.com")], seq=work.applied)
        await listed.apply(bounced, list(sayings_of(bounced)))
        work.applied += 1

    return step
