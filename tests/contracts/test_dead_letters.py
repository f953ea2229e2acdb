"""Dead letters: what the database knows of them, and a look at them on every kind of queue."""

from collections.abc import AsyncIterator

import pytest
from tests.builders import line, sealed

from omni_etl.backends.database import DatabaseRegistry, open_database
from omni_etl.backends.database.dead_letters import DatabaseDeadLetters
from omni_etl.backends.memory import MemoryQueue
from omni_etl.clock import ManualClock
from omni_etl.dead_letters import Burial, ReasonCount
from omni_etl.envelope import SealedEnvelope
from omni_etl.queue import Queue, dead_letters
from omni_etl.supervisor.dead_letters import LOOK_SECONDS_MAX, Letters, events_of, lines_of, name_of

DEAD = dead_letters("metrics")


class Known(DatabaseDeadLetters):
    """With the registry that buries, in the same database."""

    registry: DatabaseRegistry


@pytest.fixture
async def known(database_url: str, clock: ManualClock) -> AsyncIterator[Known]:
    """An empty, open one of each kind."""
    database = open_database(database_url, "control", clock)
    subject = Known(database, clock)
    subject.registry = DatabaseRegistry(database, clock)
    await subject.open()
    yield subject
    await subject.close()


async def fill(queue: Queue, count: int) -> list[SealedEnvelope]:
    """So many dead letters."""
    envelopes = [sealed([line(number=seq)], seq=seq) for seq in range(1, count + 1)]
    for each in envelopes:
        assert await queue.send(DEAD, [each]) == {}
    return envelopes


async def test_reasons_are_counted(known: Known, clock: ManualClock) -> None:
    """By service, the most frequent first, each with the age of its oldest."""
    began_ms = int(clock.now() * 1000)
    for seq in (1, 2, 3):
        await known.registry.bury("metrics", f"h-bulk-{seq}", "no table" if seq > 1 else "full")
        clock.advance(1)
    await known.registry.bury("webhooks", "h-bulk-1", "full")
    assert list(await known.counts()) == [
        ReasonCount("metrics", "no table", 2, began_ms + 1000),
        ReasonCount("metrics", "full", 1, began_ms),
        ReasonCount("webhooks", "full", 1, began_ms + 3000),
    ]
    assert list(await known.services_of("h-bulk-1")) == ["metrics", "webhooks"]


async def test_what_left_is_no_dead_letter_any_more(known: Known, clock: ManualClock) -> None:
    """`omni status` does not show it; the audit finds what became of it."""
    now_ms = int(clock.now() * 1000)
    for seq in (1, 2, 3):
        await known.registry.bury("metrics", f"h-bulk-{seq}", "full")
    await known.leave("metrics", "h-bulk-1", "redriven")
    await known.leave("metrics", "h-bulk-2", "discarded", event_count=7)
    assert [each.key for each in await known.registry.dead_letters()] == ["h-bulk-3"]
    assert [each.count for each in await known.counts()] == [1]
    assert list(await known.services_of("h-bulk-2")) == []
    assert sorted(await known.since(now_ms), key=lambda each: each.key) == [
        Burial("metrics", "h-bulk-1", "full", now_ms, "redriven", now_ms),
        Burial("metrics", "h-bulk-2", "full", now_ms, "discarded", now_ms, 7),
        Burial("metrics", "h-bulk-3", "full", now_ms),
    ]
    assert await known.since(now_ms + 1) == []


async def test_what_dies_again_is_a_dead_letter_again(known: Known, clock: ManualClock) -> None:
    """With what killed it this time."""
    await known.registry.bury("metrics", "h-bulk-1", "full")
    await known.leave("metrics", "h-bulk-1", "discarded", event_count=7)
    clock.advance(60)
    await known.registry.bury("metrics", "h-bulk-1", "no table")
    assert await known.find("metrics", "h-bulk-1") == Burial("metrics", "h-bulk-1", "no table", int(clock.now() * 1000))


async def test_what_only_the_queue_gave_up_is_noted_when_it_leaves(known: Known, clock: ManualClock) -> None:
    """It has no reason, and is an explained loss all the same."""
    now_ms = int(clock.now() * 1000)
    assert await known.find("unreadable", "h-bulk-9") is None
    await known.leave("unreadable", "h-bulk-9", "discarded", event_count=3)
    found = await known.find("unreadable", "h-bulk-9")
    assert found == Burial("unreadable", "h-bulk-9", "", now_ms, "discarded", now_ms, 3)


async def test_a_look_shows_each_once_and_leaves_them_as_they_were(queue: Queue, clock: ManualClock) -> None:
    """More than one receive holds; whole; and afterwards anyone may take them at once."""
    envelopes = await fill(queue, 13)
    async with Letters(queue, "metrics", clock=clock) as letters:
        seen = [lease.envelope async for lease in letters]
    assert letters.whole
    assert sorted(each.header for each in seen) == sorted(each.header for each in envelopes)
    assert {each.payload for each in seen} == {each.payload for each in envelopes}
    assert (await queue.depth(DEAD)).ready == 13


async def test_a_look_that_fails_gives_back_all_the_same(queue: Queue, clock: ManualClock) -> None:
    """Whatever went wrong in the middle."""
    await fill(queue, 3)

    async def fail() -> None:
        async with Letters(queue, "metrics", clock=clock) as letters:
            async for _ in letters:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert (await queue.depth(DEAD)).ready == 3


async def test_what_is_removed_is_gone_and_the_rest_stays(queue: Queue, clock: ManualClock) -> None:
    """One of many."""
    envelopes = await fill(queue, 5)
    async with Letters(queue, "metrics", clock=clock) as letters:
        async for lease in letters:
            if lease.envelope == envelopes[2]:
                await letters.remove(lease)
    async with Letters(queue, "metrics", clock=clock) as letters:
        left = [name_of(lease.envelope) async for lease in letters]
    assert sorted(left) == sorted(name_of(each) for each in envelopes if each != envelopes[2])


async def test_a_look_ends_before_its_leases_do(clock: ManualClock) -> None:
    """It says that it did not come to the end."""
    queue = MemoryQueue(clock)
    await fill(queue, 25)
    async with Letters(queue, "metrics", clock=clock) as letters:
        seen = 0
        async for _ in letters:
            seen += 1
            clock.advance(LOOK_SECONDS_MAX / 9)
    assert (seen, letters.whole) == (10, False)
    assert (await queue.depth(DEAD)).ready == 25


def test_what_is_no_envelope_has_a_name_too() -> None:
    """The beginning of its header; how many events it holds, and which, nobody knows."""
    odd = SealedEnvelope("x" * 1000, b"?")
    assert (name_of(odd), events_of(odd), lines_of(odd)) == ("x" * 200, None, None)
    whole = sealed([line(), line("bounce")], seq=4)
    assert (name_of(whole)[-7:], events_of(whole)) == ("-bulk-4", 2)
    assert sorted(lines_of(whole) or []) == sorted([line(), line("bounce")])
    assert lines_of(SealedEnvelope(whole.header, b"damaged")) is None
