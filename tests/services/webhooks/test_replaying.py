"""services.webhooks.replaying: what the webhook wants of a range is sent once more, whatever fails on the way."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson
import pytest
from tests.builders import line

from omni_etl.backends.database import DatabaseOutbox, DatabaseWebhooks, open_database
from omni_etl.backends.database.replays import DatabaseReplays
from omni_etl.clock import ManualClock
from omni_etl.errors import UnavailableError
from omni_etl.event import TYPES
from omni_etl.event_search import LINES_MAX, EventQuery, Place
from omni_etl.outbox import DueBatch, Wanted
from omni_etl.replay import Replay
from omni_etl.services.webhooks.match import BODY_BYTES_MAX
from omni_etl.services.webhooks.replaying import CLAIM_SECONDS, Replaying, batches_of
from omni_etl.services.webhooks.subscriptions import Subscriptions
from omni_etl.webhook import Webhook

WEBHOOK = Webhook("w", "shop", "https://shop.test/", TYPES)
JOB = Replay("job", "w", 0, 10_000_000, 100_000, "waiting", 10)


@dataclass
class Stored:
    """Event search over lines in memory; `outages` calls fail first."""

    events: list[bytes] = field(default_factory=list)
    outages: int = 0
    bad_ranges: set[int] = field(default_factory=set)  # whose end is one of these meet an error that is ours
    asked: list[EventQuery] = field(default_factory=list)

    async def open(self) -> None:
        """Nothing to reach."""

    async def close(self) -> None:
        """Nothing to give back."""

    async def find(
        self, query: EventQuery, *, count_max: int, after: Place | None = None, skip: int = 0
    ) -> Sequence[Place]:
        """The newest first."""
        self.asked.append(query)
        if self.outages:
            self.outages -= 1
            raise UnavailableError("the store is away")
        if query.to_ms in self.bad_ranges:
            raise KeyError("an error of ours")
        places = [Place(1_000 + at, "k", at) for at in reversed(range(len(self.events)))]
        return [each for each in places if after is None or each < after][:count_max]

    async def count(self, query: EventQuery) -> int:
        """How many there are."""
        return len(self.events)

    async def lines(self, places: Sequence[Place]) -> Sequence[str]:
        """In their order."""
        return [self.events[each.line_number].decode() for each in places]


@dataclass
class Bench:
    """The subject on real tables."""

    clock: ManualClock
    outbox: DatabaseOutbox
    replays: DatabaseReplays
    stored: Stored
    subject: Replaying

    async def until_over(self, job: str = "job") -> Replay:
        """Let it run until the job is over, and time with it."""
        running = asyncio.create_task(self.subject.run())
        while (told := await self.replays.find("w", job)) is None or told.state == "waiting":
            assert not running.done()
            due = [at for at, waiter in self.clock._sleepers if not waiter.done()]
            if due:
                self.clock.advance(min(due) - self.clock.monotonic() + 0.001)
            await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.wait([running])
        return told

    async def sent(self) -> list[DueBatch]:
        """What lies in the outbox."""
        return await self.outbox.claim({"w": Wanted(fresh=1_000)}, claim_seconds=30)


@pytest.fixture
async def bench(tmp_path: Path, webhooks: DatabaseWebhooks, clock: ManualClock) -> AsyncIterator[Bench]:
    """With one webhook for everything, and a job for everything."""
    part = open_database(f"sqlite:///{tmp_path}", "outbox", clock)
    outbox, replays, stored = DatabaseOutbox(part, clock), DatabaseReplays(part, clock), Stored()
    await outbox.open()
    await replays.open()
    await webhooks.put(WEBHOOK)
    await replays.begin(JOB)
    subscriptions = Subscriptions(webhooks, clock)
    subject = Replaying(replays=replays, search=stored, subscriptions=subscriptions, clock=clock, rng=random.Random(1))
    yield Bench(clock, outbox, replays, stored, subject)
    await replays.close()
    await outbox.close()


def events_of(batches: Sequence[DueBatch]) -> list[bytes]:
    """Every event, as it was wrapped."""
    return [orjson.dumps(each) for one in batches for each in orjson.loads(one.batch.body)]


async def test_every_event_of_the_range_is_sent_once_more(bench: Bench) -> None:
    """Newest first, in batches of at most 100, under ids that come from the job."""
    bench.stored.events = [line("delivery", n=n) for n in range(LINES_MAX * 2 + 30)]
    told = await bench.until_over()
    assert (told.state, told.estimate, told.found, told.sent) == ("done", 1_030, 1_030, 1_030)
    sent = await bench.sent()
    wanted = [b'{"msys":{"message_event":%b}}' % each for each in bench.stored.events]
    assert sorted(events_of(sent)) == sorted(wanted)
    assert {each.batch.parent_id for each in sent} == {"job"}
    assert max(each.batch.event_count for each in sent) == 100
    assert len({each.batch.id for each in sent}) == told.batches == len(sent)
    assert bench.stored.asked[0].types == TYPES


async def test_an_outage_in_between_costs_nothing(bench: Bench) -> None:
    """It is told, and then the job goes on where it stood."""
    bench.stored.events = [line("delivery", n=n) for n in range(LINES_MAX + 1)]
    bench.stored.outages = 2
    told = await bench.until_over()
    assert (told.state, told.sent, told.trouble) == ("done", LINES_MAX + 1, None)
    assert len(events_of(await bench.sent())) == LINES_MAX + 1
    assert bench.clock.monotonic() >= CLAIM_SECONDS


async def test_the_pace_is_kept(bench: Bench) -> None:
    """A thousand events at a hundred a second take ten seconds."""
    await bench.replays.cancel("w", "job")
    await bench.replays.begin(replace(JOB, id="slow", events_per_second=100))
    bench.stored.events = [line("delivery", n=n) for n in range(1_000)]
    await bench.until_over("slow")
    assert 9.9 <= bench.clock.monotonic() <= 11


async def test_a_slow_job_holds_up_no_other(bench: Bench) -> None:
    """One event a second for hours; another webhook's job, begun later, is over before its second page."""
    await bench.replays.begin(replace(JOB, id="slow", events_per_second=1, created_at_ms=1))
    bench.stored.events = [line("delivery", n=n) for n in range(LINES_MAX * 3)]
    told = await bench.until_over()
    assert (told.state, told.sent) == ("done", LINES_MAX * 3)
    slow = await bench.replays.find("w", "slow")
    assert slow is not None
    assert (slow.state, slow.sent) == ("waiting", LINES_MAX)


async def test_an_error_of_ours_ends_neither_other_jobs_nor_delivery(bench: Bench) -> None:
    """A job whose events cannot be read is tried again after its claim lapsed; `run` goes on with the next one."""
    bench.stored.events = [line()]
    bench.stored.bad_ranges = {JOB.to_ms + 1}
    await bench.replays.begin(replace(JOB, id="bad", to_ms=JOB.to_ms + 1, created_at_ms=1))
    assert (await bench.until_over()).state == "done"
    bad = await bench.replays.find("w", "bad")
    assert bad is not None
    assert bad.state == "waiting"
    bench.stored.bad_ranges = set()
    assert (await bench.until_over("bad")).sent == 1


async def test_a_deleted_webhook_ends_its_jobs(bench: Bench, webhooks: DatabaseWebhooks) -> None:
    """There is nobody to send to."""
    await webhooks.delete("w")
    bench.stored.events = [line()]
    told = await bench.until_over()
    assert (told.state, told.sent) == ("done", 0)


def test_only_what_the_webhook_wants_and_what_fits() -> None:
    """Excepted subaccounts are left out; a body is never longer than receivers take; ids repeat with the page."""
    webhook = replace(WEBHOOK, exception_subaccounts=frozenset({7}), batch_events_max=3)
    lines = [line("click", subaccount_id=str(n)) for n in (7, 8, 0, 7, 9, 10)]
    page = Place(5, "k", 2)
    batches = batches_of(JOB, webhook, lines, page=page)
    assert [each.event_count for each in batches] == [3, 1]
    assert b'"subaccount_id":"7"' not in b"".join(each.body for each in batches)
    assert batches == batches_of(JOB, webhook, lines, page=page)
    assert {each.id for each in batches}.isdisjoint(
        each.id for each in batches_of(JOB, webhook, lines, page=Place(5, "k", 3))
    )
    large = [line("open", user_agent="x" * 100_000, n=n) for n in range(50)]
    parts = batches_of(JOB, WEBHOOK, large, page=page)
    assert sum(each.event_count for each in parts) == 50
    assert all(len(each.body) <= BODY_BYTES_MAX for each in parts)
