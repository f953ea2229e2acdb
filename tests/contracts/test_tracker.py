"""The tracker's contract, on every backend: marks permit, absence means ask, buried stays buried."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import permutations

import pytest
import redis.asyncio as client

from omni_etl.backends.memory_tracker import MemoryTracker
from omni_etl.backends.redis import RedisTracker
from omni_etl.clock import ManualClock, SystemClock
from omni_etl.embedded.valkey import EmbeddedValkey
from omni_etl.tracker import TOMBSTONE_SECONDS, WORK_SECONDS, Mark, Progress, Tracker

FOUR = frozenset({"metrics", "message_events", "suppressions", "webhooks"})
NOTHING = Progress(marks={}, settled=False)
SETTLED = Progress(marks={}, settled=True)


@dataclass
class Subject:
    """A tracker under test, and what only a test may do to its engine."""

    tracker: Tracker
    seconds_left: Callable[[str], Awaitable[float]]  # of a key in epoch "one"
    age: Callable[[str, float], Awaitable[None]]  # let that many seconds pass for a key
    forget: Callable[[], Awaitable[None]]


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A real Valkey for this file."""
    embedded = EmbeddedValkey(tmp_path_factory.mktemp("valkey"))
    with subprocess.Popen(embedded.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            yield embedded
        finally:
            process.kill()


@pytest.fixture(params=["memory", "valkey"])
async def subject(request: pytest.FixtureRequest, valkey: EmbeddedValkey) -> AsyncIterator[Subject]:
    """An empty, open tracker of each kind."""
    if request.param == "memory":
        yield await memory_subject()
        return
    await valkey.wait_ready(SystemClock())
    async with client.Redis.from_url(valkey.url) as engine:
        await engine.flushall()
        tracker = RedisTracker(valkey.url)
        await tracker.open("one")
        yield redis_subject(tracker, engine)
        await tracker.close()


async def memory_subject() -> Subject:
    """The tracker in memory, whose time is a clock by hand."""
    clock = ManualClock()
    tracker = MemoryTracker(clock)
    await tracker.open("one")

    async def seconds_left(key: str) -> float:
        return tracker._remembered["one", key].until - clock.monotonic()

    async def age(_key: str, seconds: float) -> None:
        clock.advance(seconds)

    async def forget() -> None:
        tracker.forget()

    return Subject(tracker, seconds_left, age, forget)


def redis_subject(tracker: RedisTracker, engine: "client.Redis") -> Subject:
    """The real engine, whose time to live a test shortens in place of waiting."""

    async def seconds_left(key: str) -> float:
        return float(await engine.ttl(f"omni:one:{key}"))

    async def age(key: str, seconds: float) -> None:
        left = await engine.ttl(f"omni:one:{key}")
        await engine.expire(f"omni:one:{key}", int(left - seconds))

    async def forget() -> None:
        await engine.flushall()

    return Subject(tracker, seconds_left, age, forget)


async def test_nothing_is_remembered_of_the_unknown(subject: Subject) -> None:
    """Absence is an answer, in the order of the question."""
    await subject.tracker.mark("b", "metrics", "done", FOUR)
    assert await subject.tracker.ask(["a", "b", "c"]) == [
        NOTHING,
        Progress({"metrics": "done"}, settled=False),
        NOTHING,
    ]
    assert await subject.tracker.ask([]) == []


async def test_a_mark_tells_what_is_missing(subject: Subject) -> None:
    """Each mark answers what is still owed; the last answers nothing; each kind of mark counts."""
    assert await subject.tracker.mark("a", "metrics", "done", FOUR) == FOUR - {"metrics"}
    assert await subject.tracker.mark("a", "webhooks", "sided", FOUR) == {"message_events", "suppressions"}
    assert await subject.tracker.mark("a", "suppressions", "dead", FOUR) == {"message_events"}
    assert await subject.tracker.mark("a", "message_events", "done", FOUR) == frozenset()
    marks: dict[str, Mark] = {"metrics": "done", "webhooks": "sided", "suppressions": "dead", "message_events": "done"}
    assert await subject.tracker.ask(["a"]) == [Progress(marks, settled=False)]


async def test_a_repeated_mark_changes_nothing(subject: Subject) -> None:
    """The answer of a repeat is the answer of the first."""
    answers = [await subject.tracker.mark("a", "metrics", "done", FOUR) for _ in range(3)]
    assert answers == [FOUR - {"metrics"}] * 3


async def test_what_is_owed_comes_with_the_question(subject: Subject) -> None:
    """A mark of a service that is not owed is kept and answers only for the owed."""
    assert await subject.tracker.mark("a", "fifth", "done", frozenset({"metrics"})) == {"metrics"}
    assert await subject.tracker.mark("a", "metrics", "done", frozenset()) == frozenset()


async def test_of_concurrent_marks_exactly_one_is_the_last(subject: Subject) -> None:
    """Whoever marks last, and only that one, hears that nothing is missing: the envelope is deleted by one."""
    for number, order in enumerate(permutations(FOUR)):
        answers = await asyncio.gather(*(subject.tracker.mark(f"k{number}", each, "done", FOUR) for each in order))
        assert sorted(len(answer) for answer in answers) == [0, 1, 2, 3]


async def test_buried_is_settled(subject: Subject) -> None:
    """A tombstone takes the place of the marks, known or not, and burying again is harmless."""
    await subject.tracker.mark("a", "metrics", "done", FOUR)
    await subject.tracker.bury(["a", "never seen"])
    await subject.tracker.bury(["a"])
    await subject.tracker.bury([])
    assert await subject.tracker.ask(["a", "never seen", "b"]) == [SETTLED, SETTLED, NOTHING]


async def test_a_late_mark_raises_no_dead(subject: Subject) -> None:
    """A mark after the burial answers that nothing is missing, and the envelope stays settled."""
    await subject.tracker.bury(["a"])
    assert await subject.tracker.mark("a", "metrics", "done", FOUR) == frozenset()
    assert await subject.tracker.ask(["a"]) == [SETTLED]


async def test_work_is_remembered_a_day_and_renewed(subject: Subject) -> None:
    """Asking and marking both renew a key in work."""
    await subject.tracker.mark("a", "metrics", "done", FOUR)
    for touch in (subject.tracker.ask(["a"]), subject.tracker.mark("a", "webhooks", "done", FOUR)):
        await subject.age("a", WORK_SECONDS - 600)
        await touch
        assert WORK_SECONDS - 5 < await subject.seconds_left("a") <= WORK_SECONDS
    await subject.age("a", WORK_SECONDS)
    assert await subject.tracker.ask(["a"]) == [NOTHING]


async def test_a_tombstone_stands_an_hour(subject: Subject) -> None:
    """Neither a question nor a late mark renews it: duplicates then ask the ledgers."""
    await subject.tracker.bury(["a"])
    await subject.age("a", 600)
    await subject.tracker.ask(["a"])
    await subject.tracker.mark("a", "metrics", "done", FOUR)
    assert TOMBSTONE_SECONDS - 605 < await subject.seconds_left("a") <= TOMBSTONE_SECONDS - 600
    await subject.age("a", TOMBSTONE_SECONDS - 600)
    assert await subject.tracker.ask(["a"]) == [NOTHING]


async def test_another_epoch_sees_nothing(subject: Subject) -> None:
    """A tracker restored from a backup tells no lies, because its marks carry an older epoch."""
    await subject.tracker.mark("a", "metrics", "done", FOUR)
    await subject.tracker.bury(["b"])
    await subject.tracker.open("two")
    assert await subject.tracker.ask(["a", "b"]) == [NOTHING, NOTHING]
    await subject.tracker.open("one")
    assert await subject.tracker.ask(["a", "b"]) == [Progress({"metrics": "done"}, settled=False), SETTLED]


async def test_it_may_forget_everything(subject: Subject) -> None:
    """After a loss the answers are those of an empty tracker, and work goes on."""
    await subject.tracker.mark("a", "metrics", "done", FOUR)
    await subject.forget()
    assert await subject.tracker.ask(["a"]) == [NOTHING]
    assert await subject.tracker.mark("a", "webhooks", "done", FOUR) == FOUR - {"webhooks"}


async def test_many_keys_in_one_question(subject: Subject) -> None:
    """More keys than one call holds are answered in order."""
    keys = [f"k{number}" for number in range(1203)]
    await subject.tracker.bury(keys[::2])
    settled = [progress.settled for progress in await subject.tracker.ask(keys)]
    assert settled == [number % 2 == 0 for number in range(1203)]
