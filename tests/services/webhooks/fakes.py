"""A customer's server as the poster sees it, and an outbox that may be away."""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from omni_etl.backends.database import Database, DatabaseOutbox
from omni_etl.clock import Clock, ManualClock
from omni_etl.errors import UnavailableError
from omni_etl.outbox import DueBatch
from omni_etl.poster import Answer
from omni_etl.services.webhooks.lanes import Lanes

OK = Answer(200, "200")


@dataclass(frozen=True)
class Post:
    """One attempt as it was made."""

    target: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def batch_id(self) -> str:
        """What tells a receiver that it has seen this batch."""
        return self.headers["X-MessageSystems-Batch-ID"]


@dataclass
class CustomerPoster:
    """Answers as told, 200 when told nothing; hangs while a target is in `hanging`."""

    answers: deque[Answer] = field(default_factory=deque)
    posts: list[Post] = field(default_factory=list)
    hanging: set[str] = field(default_factory=set)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    in_flight: int = 0
    in_flight_max: int = 0
    error: Exception | None = None  # an error of our own, which no poster should have
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def open(self) -> None:
        """Nothing to make."""

    async def close(self) -> None:
        """Nothing to close."""

    async def post(self, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Note the attempt and answer."""
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        async with self._changed:
            self.posts.append(Post(target, body, headers))
            self._changed.notify_all()
        try:
            if target in self.hanging:
                await self.released.wait()
            if self.error is not None:
                error, self.error = self.error, None
                raise error
            return self.answers.popleft() if self.answers else OK
        finally:
            self.in_flight -= 1

    async def posted(self, count: int) -> None:
        """Wait until so many attempts were begun."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.posts) >= count)


class StumblingOutbox(DatabaseOutbox):
    """The real outbox, whose answers may get lost: `failures` calls of each kind fail, after or instead of working."""

    claims = 0
    claims_made = 0
    verdicts = 0
    claim_failures = 0
    verdict_failures = 0
    loses_answers = False  # the call worked and the answer is lost

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock)
        self.may_answer = asyncio.Event()  # cleared: a claim is made and its answer still under way
        self.may_answer.set()

    async def claim(self, *, count_max: int, claim_seconds: int, paused: Collection[str] = ()) -> list[DueBatch]:
        """Take what is due, unless away."""
        self.claims += 1
        if self.claim_failures:
            self.claim_failures -= 1
            raise UnavailableError("the outbox is away")
        claimed = await super().claim(count_max=count_max, claim_seconds=claim_seconds, paused=paused)
        self.claims_made += 1
        await self.may_answer.wait()
        return claimed

    async def delivered(self, due: DueBatch, status: int, *, latency_ms: int = 0) -> bool:
        """Note it, unless away."""
        self.verdicts += 1
        if self.verdict_failures:
            self.verdict_failures -= 1
            if self.loses_answers:
                await super().delivered(due, status, latency_ms=latency_ms)
            raise UnavailableError("the outbox is away")
        return await super().delivered(due, status, latency_ms=latency_ms)


async def someone_sleeps(clock: ManualClock) -> None:
    """Wait until somebody waits for this clock."""
    while not [waiter for _, waiter in clock._sleepers if not waiter.done()]:
        await asyncio.sleep(0)


async def at_rest(lanes: Lanes, clock: ManualClock, *, hanging: int = 0) -> None:
    """Wait until every attempt but the hanging ones was recorded and delivery waits for time: only now may time move on."""
    while len(lanes._in_flight) > hanging:
        await asyncio.sleep(0)
    await someone_sleeps(clock)


async def let_pass(clock: ManualClock, task: asyncio.Future[None]) -> None:
    """Finish a task, moving time on only while it sleeps."""
    while not task.done():
        due = [at for at, waiter in clock._sleepers if not waiter.done()]
        if due:
            clock.advance(min(due) - clock.monotonic() + 0.001)
        await asyncio.sleep(0)
    await task
