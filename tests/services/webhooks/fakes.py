"""A customer's server as the poster sees it, an outbox that may be away, and a database that says whether it is at work."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from omni_etl.backends.database import DatabaseOutbox
from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.migrate import Part
from omni_etl.backends.database.product import Value
from omni_etl.backends.database.sqlite import Sqlite
from omni_etl.clock import Clock, ManualClock
from omni_etl.envelope import Envelope
from omni_etl.errors import UnavailableError
from omni_etl.outbox import Closing, Cut, DueBatch, DueLane, OpenSegments, Verdict, Wanted
from omni_etl.poster import Answer
from omni_etl.webhook import Webhook

OK = Answer(200, "200")
TURNS = 30  # of the loop, after which whatever could go on went on


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
    answer_of: Callable[[Post], Answer] | None = None  # where it depends on what comes
    posts: list[Post] = field(default_factory=list)
    taken: list[Post] = field(default_factory=list)  # those that it said it has
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
        post = Post(target, body, headers)
        async with self._changed:
            self.posts.append(post)
            self._changed.notify_all()
        try:
            if target in self.hanging:
                await self.released.wait()
            if self.error is not None:
                error, self.error = self.error, None
                raise error
            if self.answer_of is not None:
                answer = self.answer_of(post)
            else:
                answer = self.answers.popleft() if self.answers else OK
            self.taken += [post] * answer.ok
            return answer
        finally:
            self.in_flight -= 1

    async def posted(self, count: int) -> None:
        """Wait until so many attempts were begun."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.posts) >= count)

    @property
    def ids(self) -> list[str]:
        """Of the batches that came, in their order."""
        return [post.batch_id for post in self.posts]


class Table:
    """Webhooks in memory; counts how often they were read, and may be away."""

    def __init__(self) -> None:
        self.rows: dict[str, Webhook] = {}
        self.reads = 0
        self.is_away = False

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to give back."""

    async def all(self) -> Sequence[Webhook]:
        """Every row."""
        self.reads += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise UnavailableError("away")
        return list(self.rows.values())

    async def find(self, webhook_id: str) -> Webhook | None:
        """One row."""
        return self.rows.get(webhook_id)

    async def change(self, before: Webhook, after: Webhook) -> bool:
        """Replace a row."""
        if self.rows.get(before.id) != before:
            return False
        self.rows[after.id] = after
        return True

    async def put(self, webhook: Webhook) -> None:
        """Add a row."""
        self.rows[webhook.id] = webhook

    async def rotate(self, webhook_id: str, *, overlap_seconds: int) -> Webhook | None:
        """Nobody here has secrets."""
        return self.rows.get(webhook_id)

    async def delete(self, webhook_id: str) -> bool:
        """Drop a row."""
        return self.rows.pop(webhook_id, None) is not None


class WatchedDatabase(Database):
    """Counts the transactions that are under way: while one is, no clock may move on."""

    def __init__(self, url: str, part: Part, clock: Clock) -> None:
        super().__init__(Sqlite(url, part), part, clock)
        self.at_work = 0

    async def read(self, work: Callable[[Connection], Value]) -> Value:
        """As the real one."""
        self.at_work += 1
        try:
            return await super().read(work)
        finally:
            self.at_work -= 1

    async def write(self, work: Callable[[Connection], Value]) -> Value:
        """As the real one."""
        self.at_work += 1
        try:
            return await super().write(work)
        finally:
            self.at_work -= 1


class StumblingOutbox(DatabaseOutbox):
    """The real outbox, whose answers may get lost: `failures` calls of each kind fail, after or instead of working."""

    def __init__(self, database: WatchedDatabase, clock: Clock) -> None:
        super().__init__(database, clock)
        self.watched = database
        self.looks = self.claims = self.claims_made = self.verdicts = self.closings = 0
        self.look_failures = self.claim_failures = self.verdict_failures = 0
        self.loses_answers = False  # the call worked and the answer is lost
        self.is_away = False
        self.may_answer = asyncio.Event()  # cleared: a claim is made and its answer still under way
        self.may_answer.set()
        self.may_put = asyncio.Event()  # cleared: it is put, and nobody heard of it yet
        self.may_put.set()
        self.may_join = asyncio.Event()  # cleared: segments are joined, and nobody heard of it yet
        self.may_join.set()

    async def put(
        self, envelope: Envelope, cut: Cut, *, eager: Collection[str] = (), claim_seconds: int = 0
    ) -> list[DueBatch] | None:
        """Write it, and answer when told so."""
        self._there()
        claimed = await super().put(envelope, cut, eager=eager, claim_seconds=claim_seconds)
        await self.may_put.wait()
        return claimed

    async def open_segments(self) -> Sequence[OpenSegments]:
        """What is open, unless away."""
        self.closings += 1
        self._there()
        return await super().open_segments()

    async def join(self, closings: Sequence[Closing], *, claim_seconds: int) -> list[DueBatch]:
        """Join them, and answer when told so."""
        self._there()
        claimed = await super().join(closings, claim_seconds=claim_seconds)
        await self.may_join.wait()
        return claimed

    async def due(self) -> Sequence[DueLane]:
        """What is due, unless away."""
        self.looks += 1
        self._there()
        if self.look_failures:
            self.look_failures -= 1
            raise UnavailableError("the outbox is away")
        return await super().due()

    async def claim(self, wanted: Mapping[str, Wanted], *, claim_seconds: int) -> list[DueBatch]:
        """Take what is due, unless away."""
        self.claims += 1
        self._there()
        if self.claim_failures:
            self.claim_failures -= 1
            raise UnavailableError("the outbox is away")
        claimed = await super().claim(wanted, claim_seconds=claim_seconds)
        self.claims_made += 1
        await self.may_answer.wait()
        return claimed

    async def settle(self, due: DueBatch, verdict: Verdict) -> bool:
        """Note it, unless away."""
        self.verdicts += 1
        self._there()
        if self.verdict_failures:
            self.verdict_failures -= 1
            if self.loses_answers:
                await super().settle(due, verdict)
            raise UnavailableError("the outbox is away")
        return await super().settle(due, verdict)

    def _there(self) -> None:
        if self.is_away:
            raise UnavailableError("the outbox is away")


async def someone_sleeps(clock: ManualClock) -> None:
    """Wait until somebody waits for this clock."""
    while not _sleeping_until(clock):
        await asyncio.sleep(0)


async def at_rest(*databases: WatchedDatabase) -> None:
    """Wait until nothing goes on but by time or by a customer: only now may time move on."""
    quiet = 0
    while quiet < TURNS:
        await asyncio.sleep(0)
        quiet = 0 if any(each.at_work for each in databases) else quiet + 1


def next_sleeper(clock: ManualClock) -> float:
    """Seconds until somebody's time has come."""
    return max(min(_sleeping_until(clock)) - clock.monotonic(), 0.0) + 0.000_001


async def let_pass(clock: ManualClock, task: asyncio.Future[None]) -> None:
    """Finish a task, moving time on only while it sleeps."""
    while not task.done():
        if _sleeping_until(clock):
            clock.advance(next_sleeper(clock))
        await asyncio.sleep(0)
    await task


def _sleeping_until(clock: ManualClock) -> list[float]:
    return [at for at, waiter in clock._sleepers if not waiter.done()]
