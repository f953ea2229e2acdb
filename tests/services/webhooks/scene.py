"""Scene: delivery as a process has it, with the real outbox on SQLite, webhooks in memory, and time by hand."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from tests.builders import envelope, line
from tests.services.webhooks.fakes import CustomerPoster, StumblingOutbox, Table, WatchedDatabase, at_rest, next_sleeper

from omni_etl.backends.database import DatabaseDeliveries
from omni_etl.clock import ManualClock
from omni_etl.event import TYPES
from omni_etl.outbox import Batch, Cut, Lane, OutboxCounts, Segment, Wanted
from omni_etl.services.webhooks.attempt import Attempts
from omni_etl.services.webhooks.delivery import RECORD_SECONDS, STOP_SECONDS, Delivery
from omni_etl.services.webhooks.lanes import DeliveryLimits, Lanes
from omni_etl.services.webhooks.subscriptions import Subscriptions
from omni_etl.webhook import Webhook

LIMITS = DeliveryLimits(in_flight_max=6, in_flight_webhook_max=6, attempt_seconds_max=10.0)
CLAIM_SECONDS = 10 + RECORD_SECONDS
GOOD, BAD = "https://good.test/", "https://bad.test/"


class Scene:
    """A webhook has the name of its target, unless a test says otherwise."""

    def __init__(self, directory: Path, limits: DeliveryLimits, *, seed: int) -> None:
        self.clock = ManualClock()
        self.database = WatchedDatabase(f"sqlite:///{directory}", "outbox", self.clock)
        self.outbox = StumblingOutbox(self.database, self.clock)
        self.deliveries = DatabaseDeliveries(self.database, self.clock)
        self.customer = CustomerPoster()
        self.table = Table()
        self.limits = limits
        self.rng = random.Random(seed)
        self.puts = 0
        self.running: asyncio.Task[None] | None = None
        self.made()

    def made(self) -> None:
        """Delivery, as a new process has it."""
        self.subscriptions = Subscriptions(self.table, self.clock)
        attempts = Attempts(
            subscriptions=self.subscriptions,
            outbox=self.outbox,
            poster=self.customer,
            clock=self.clock,
            rng=self.rng,
        )
        self.delivery = Delivery(
            outbox=self.outbox,
            subscriptions=self.subscriptions,
            attempts=attempts,
            limits=self.limits,
            clock=self.clock,
            rng=self.rng,
        )

    @property
    def lanes(self) -> Lanes:
        """Of this process."""
        return self.delivery.lanes

    async def start(self) -> None:
        """Run; on return it has looked once."""
        self.running = asyncio.create_task(self.delivery.run())
        await self.rest()

    async def stop(self) -> None:
        """As at the end of a process; attempts get their moment."""
        assert self.running is not None
        self.running.cancel()
        while not self.running.done():
            await self.rest()
            if not self.running.done():
                self.clock.advance(STOP_SECONDS)
        self.running = None

    async def rest(self) -> None:
        """Until only time or a customer could move anything."""
        await at_rest(self.database)

    async def until(
        self, holds: Callable[[], bool], *, step_seconds: float | None = None, steps_max: int = 2_000
    ) -> float:
        """Move time on, to the next sleeper or by steps, until something holds; how many seconds it took."""
        began = self.clock.monotonic()
        for _ in range(steps_max):
            await self.rest()
            if holds():
                return self.clock.monotonic() - began
            self.clock.advance(step_seconds or next_sleeper(self.clock))
        raise AssertionError(f"not in {steps_max} steps")

    async def delivered(self, batches: int, *, step_seconds: float | None = None) -> float:
        """Move time on until so many are delivered; how many seconds it took."""
        began = self.clock.monotonic()
        while (await self.counts()).delivered_batches < batches:
            assert self.clock.monotonic() - began < 1_200
            await self.rest()
            if (await self.counts()).delivered_batches < batches:
                self.clock.advance(step_seconds or next_sleeper(self.clock))
        await self.rest()
        return self.clock.monotonic() - began

    async def put(self, *names: str, to: str = GOOD, size_bytes: int = 2) -> None:
        """Batches into the outbox, by another process: nobody here hears of them."""
        self.puts += 1
        await self.outbox.put(envelope([line()], seq=self.puts), Cut(batches(*names, to=to, size_bytes=size_bytes)))

    async def send(self, *names: str, to: str = GOOD, size_bytes: int = 2) -> None:
        """Batches by way of this process."""
        self.puts += 1
        cut = Cut(batches(*names, to=to, size_bytes=size_bytes))
        await self.delivery.put(envelope([line()], seq=self.puts), cut)

    async def send_segment(self, *events: int, to: str = GOOD) -> None:
        """Events that fill no batch, by way of this process."""
        self.puts += 1
        elements = ",".join(map(str, events)).encode()
        cut = Cut(segments=[Segment(to, f"{self.puts}/{to}", elements, len(events))])
        await self.delivery.put(envelope([line()], seq=self.puts), cut)

    async def unclaimed(self, to: str = GOOD) -> list[str]:
        """Names of batches that anybody could have now; nothing changes."""
        wanted = {to: Wanted(fresh=1_000, retries=1_000)}
        claimed = await self.outbox.claim(wanted, claim_seconds=0)
        await self.outbox.release(claimed)
        return sorted(each.batch.id for each in claimed)

    async def counts(self) -> OutboxCounts:
        """How much lies where."""
        return await self.outbox.counts()

    async def lane(self, to: str = GOOD) -> Lane:
        """What the outbox knows of a webhook."""
        return (await self.deliveries.lanes([to]))[to]

    def nothing_is_held(self) -> None:
        """Every slot and every byte was given back."""
        lanes = self.lanes
        assert (lanes.free(), lanes.fresh_bytes, lanes._taken_unproven) == (self.limits.in_flight_max, 0, 0)
        assert not any(lanes._taken_by.values())
        assert not any(lane.in_flight or lane.fresh for lane in lanes._lanes.values())


@asynccontextmanager
async def opened(directory: Path, limits: DeliveryLimits = LIMITS, *, seed: int = 1) -> AsyncIterator[Scene]:
    """Open, with two webhooks; it stops at the end, and gave back what it took."""
    subject = Scene(directory, limits, seed=seed)
    subject.table.rows = {each: Webhook(each, each, each, TYPES) for each in (GOOD, BAD)}
    await subject.outbox.open()
    try:
        yield subject
    finally:
        if subject.running is not None:
            await subject.stop()
        await subject.outbox.close()
    subject.nothing_is_held()


def batches(*names: str, to: str = GOOD, size_bytes: int = 2) -> list[Batch]:
    """One event each; the name is the id."""
    body = b"[%b]" % b"0".ljust(size_bytes - 2) if size_bytes > 2 else b"[]"
    return [Batch(name, to, to, {}, body, 1) for name in names]


def numbers(posts: Sequence[bytes]) -> list[int]:
    """Events of these bodies."""
    return [number for body in posts for number in json.loads(body)]


def changed(scene: Scene, webhook_id: str, **members: object) -> None:
    """A webhook as its customer now wants it."""
    scene.table.rows[webhook_id] = replace(scene.table.rows[webhook_id], **members)  # type: ignore[arg-type] # by name
