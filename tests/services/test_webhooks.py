"""services.webhooks: an envelope's events reach customers, once in effect, with the real database and the real poster."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
from aiohttp import web
from tests.builders import envelope, line
from tests.secret_boxes import BOX
from tests.services.webhooks.fakes import WatchedDatabase, at_rest, next_sleeper

from omni_etl.backends.clickhouse_events import ClickHouseEvents
from omni_etl.backends.database import DatabaseOutbox, DatabaseWebhooks
from omni_etl.backends.database.replays import DatabaseReplays
from omni_etl.backends.http import AiohttpPoster
from omni_etl.clock import ManualClock
from omni_etl.errors import IdConflictError, LeaseLapsedError, UnavailableError
from omni_etl.event import TYPES
from omni_etl.outbox import Wanted
from omni_etl.service import Deadline
from omni_etl.services.webhooks import DeliveryLimits, WebhooksParts, WebhooksService
from omni_etl.webhook import Webhook


@dataclass
class Customer:
    """A real server; answers the statuses it is given, then 200."""

    statuses: list[int] = field(default_factory=list)
    batches: list[tuple[str, bytes]] = field(default_factory=list)
    target: str = ""

    async def take(self, request: web.Request) -> web.Response:
        """One attempt."""
        self.batches.append((request.headers["X-MessageSystems-Batch-ID"], await request.read()))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    @property
    def event_ids(self) -> list[str]:
        """Of all that came, repeated batches counted once by their id."""
        bodies = dict(self.batches).values()
        return [event["event_id"] for body in bodies for each in orjson.loads(body) for event in each["msys"].values()]


class Bench:
    """The service as a process has it; `again` is the next process on the same database."""

    def __init__(self, directory: Path, clock: ManualClock) -> None:
        self.clock = clock
        self.database = WatchedDatabase(f"sqlite:///{directory}", "outbox", clock)
        self.control = WatchedDatabase(f"sqlite:///{directory}", "control", clock)
        self.outbox = DatabaseOutbox(self.database, clock)
        self.webhooks = DatabaseWebhooks(self.control, clock, BOX)
        self.poster = AiohttpPoster(refusal=lambda *_: None, timeout_seconds=5.0, connections_max=8, clock=clock)
        replays, search = DatabaseReplays(self.database, clock), ClickHouseEvents(None)
        self.service = WebhooksService(
            WebhooksParts(self.webhooks, self.outbox, replays, search, self.poster),
            clock=clock,
            rng=random.Random(1),
            limits=DeliveryLimits(8, 8, attempt_seconds_max=5.0),
        )

    async def rest(self) -> None:
        """Until nothing moves but by time: no attempt, no transaction."""
        await at_rest(self.database, self.control)
        while self.service._delivery.lanes.in_flight():
            await asyncio.sleep(0.001)
            await at_rest(self.database, self.control)

    def deadline(self, seconds: float = 60.0) -> Deadline:
        """A lease of that many seconds."""
        return Deadline(self.clock, self.clock.monotonic() + seconds)


@pytest.fixture
async def customer() -> AsyncIterator[Customer]:
    """On loopback."""
    subject = Customer()
    app = web.Application(client_max_size=10_000_000)
    app.router.add_post("/", subject.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    subject.target = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield subject
    await runner.cleanup()


@pytest.fixture
async def bench(tmp_path: Path, customer: Customer) -> AsyncIterator[Bench]:
    """Open, with one webhook for everything."""
    subject = Bench(tmp_path, ManualClock())
    await subject.service.open()
    await subject.webhooks.put(Webhook("w", "", customer.target, TYPES))
    yield subject
    await subject.service.close()


async def delivered(bench: Bench, batches: int) -> None:
    """Let the clock go until so many batches are delivered."""
    await bench.rest()
    while (await bench.outbox.counts()).delivered_batches < batches:
        bench.clock.advance(next_sleeper(bench.clock))
        await bench.rest()


async def test_every_event_reaches_the_customer_once(bench: Bench, customer: Customer) -> None:
    """Ten envelopes, some applied twice, some at the same time, while delivery runs and the customer stumbles."""
    customer.statuses = [500, 200, 503, 302]
    envelopes = [envelope([line("open", n=n, seq=seq) for n in range(130)], seq=seq) for seq in range(10)]
    running = asyncio.create_task(bench.service.run())
    await asyncio.gather(*(bench.service.apply(each, bench.deadline()) for each in (*envelopes, *envelopes[::3])))
    while len(set(customer.event_ids)) < 1_300 or (await bench.outbox.counts()).waiting_events:
        bench.clock.advance(next_sleeper(bench.clock))
        await bench.rest()
    running.cancel()
    await asyncio.wait([running])
    sent = [orjson.loads(each)["event_id"] for one in envelopes for each in one.lines("open")]
    assert sorted(customer.event_ids) == sorted(sent)
    assert (await bench.outbox.counts()).delivered_events == 1_300
    assert len({batch_id for batch_id, _ in customer.batches}) == len(set(customer.batches)) <= 10 + 4
    assert len(customer.batches) == len(set(customer.batches)) + 3


async def test_delivery_hears_of_new_batches_at_once(bench: Bench, customer: Customer) -> None:
    """From the outbox to the customer no time passes where they fill a batch."""
    running = asyncio.create_task(bench.service.run())
    await bench.rest()
    await bench.service.apply(envelope([line("open", n=n) for n in range(100)]), bench.deadline())
    while (await bench.outbox.counts()).delivered_batches < 1:
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    assert bench.clock.monotonic() == 0


async def test_which_webhooks_there_were_is_decided_once(bench: Bench, customer: Customer) -> None:
    """A redo after a new webhook was made gives it nothing of the past, also where nobody wanted the envelope before."""
    await bench.webhooks.delete("w")
    await bench.service.apply(envelope([line()], seq=1), bench.deadline())
    await bench.webhooks.put(Webhook("new", "", customer.target, TYPES))
    await bench.service.apply(envelope([line()], seq=1), bench.deadline())
    assert (await bench.outbox.counts()).waiting_events == 0
    await bench.service.apply(envelope([line()], seq=2), bench.deadline())
    assert (await bench.outbox.counts()).waiting_events == 1


async def test_a_killed_process_repeats_with_the_same_id_and_bytes(
    bench: Bench, customer: Customer, tmp_path: Path
) -> None:
    """Answered by the customer and not yet noted: the next process sends the very same again, and notes it."""
    await bench.service.apply(envelope([line("open", n=n) for n in range(100)]), bench.deadline())
    [due] = await bench.outbox.claim({"w": Wanted(fresh=1)}, claim_seconds=25)
    headers = {"X-MessageSystems-Batch-ID": due.batch.id}
    await bench.poster.post(due.batch.target, due.batch.body, headers)  # and here it dies
    bench.clock.advance(25)
    following = Bench(tmp_path, bench.clock)
    await following.service.open()
    running = asyncio.create_task(following.service.run())
    await delivered(following, 1)
    running.cancel()
    await asyncio.wait([running])
    await following.service.close()
    assert len(customer.batches) == 2
    assert len(set(customer.batches)) == 1


async def test_a_lapsed_lease_has_no_effect(bench: Bench) -> None:
    """The deadline is asked directly before the batches are written."""
    with pytest.raises(LeaseLapsedError):
        await bench.service.apply(envelope([line()]), bench.deadline(0.0))
    assert (await bench.outbox.counts()).waiting_events == 0


async def test_another_envelope_under_the_same_key_is_a_conflict(bench: Bench) -> None:
    """Neither may be guessed at."""
    await bench.service.apply(envelope([line("open")]), bench.deadline())
    with pytest.raises(IdConflictError):
        await bench.service.apply(envelope([line("click")]), bench.deadline())


async def test_without_the_webhooks_nothing_is_decided(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the list cannot be read the envelope comes again: the ledger would keep a wrong match for ever."""

    async def away() -> list[Webhook]:
        raise UnavailableError("away")

    monkeypatch.setattr(bench.webhooks, "all", away)
    with pytest.raises(UnavailableError):
        await bench.service.apply(envelope([line()]), bench.deadline())
    monkeypatch.undo()
    await bench.service.apply(envelope([line()]), bench.deadline())
    assert (await bench.outbox.counts()).waiting_events == 1
