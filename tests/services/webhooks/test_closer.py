"""services.webhooks.closer: segments become batches when they are many, large or old enough, and nobody's are forgotten."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.builders import envelope, line
from tests.services.webhooks.scene import BAD, GOOD, LIMITS, Scene, changed, numbers, opened

from omni_etl.errors import UnavailableError
from omni_etl.event import TYPES
from omni_etl.outbox import Cut, DueBatch, Segment, Wanted
from omni_etl.services.webhooks.closer import CLOSED_MAX, LOOK_SECONDS, POLL_SECONDS, Closer
from omni_etl.services.webhooks.lanes import FRESH_BYTES_MAX
from omni_etl.services.webhooks.match import BODY_BYTES_MAX
from omni_etl.services.webhooks.subscriptions import Subscriptions
from omni_etl.webhook import Webhook


class Desk:
    """A closer and what lies before it; nothing is delivered."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.closer = self.another()

    def another(self) -> Closer:
        """As a second process has it, with its own list of webhooks."""
        scene = self.scene
        subscriptions = Subscriptions(scene.table, scene.clock)
        return Closer(
            outbox=scene.outbox, subscriptions=subscriptions, lanes=scene.lanes, limits=LIMITS, clock=scene.clock
        )

    async def lay(self, *counts: int, to: str = GOOD) -> None:
        """A segment of so many numbers each, counted on."""
        for count in counts:
            self.scene.puts += 1
            first = self.scene.puts * 1_000
            elements = ",".join(map(str, range(first, first + count))).encode()
            await self.lay_bytes(elements, count, to=to)

    async def lay_bytes(self, elements: bytes, count: int = 1, *, to: str = GOOD) -> None:
        """One segment."""
        self.scene.puts += 1
        segment = Segment(to, f"{self.scene.puts}/{to}", elements, count)
        await self.scene.outbox.put(envelope([line()], seq=self.scene.puts), Cut(segments=[segment]))

    async def close(self) -> list[DueBatch]:
        """Once."""
        return await self.closer.close(claim_seconds=30)

    async def closed(self, to: str = GOOD) -> list[int]:
        """How many events are in each batch that waits, the oldest first."""
        claimed = await self.scene.outbox.claim({to: Wanted(fresh=1_000)}, claim_seconds=0)
        await self.scene.outbox.release(claimed)
        return sorted((each.batch.event_count for each in claimed), reverse=True)

    async def is_waiting(self, seconds: float) -> bool:
        """Whether `wait` lasts for so long, and no longer."""
        waiting = asyncio.create_task(self.closer.wait())
        await self.scene.rest()
        self.scene.clock.advance(seconds * 0.99)
        await self.scene.rest()
        was_waiting = not waiting.done()
        self.scene.clock.advance(seconds * 0.02)
        await asyncio.wait_for(waiting, 5)
        return was_waiting


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """With nothing on it."""
    async with opened(tmp_path) as scene:
        yield Desk(scene)


async def test_what_is_few_and_young_waits_for_others(desk: Desk) -> None:
    """Until the oldest is a second old; then everything goes in one batch."""
    await desk.lay(3, 4)
    desk.scene.clock.advance(0.5)
    await desk.lay(5)
    assert await desk.close() == []
    assert await desk.closed() == []
    desk.scene.clock.advance(0.5)
    await desk.close()
    assert await desk.closed() == [12]


async def test_what_fills_a_batch_goes_at_once(desk: Desk) -> None:
    """What does not fill the next one waits on."""
    await desk.lay(60, 40, 70, 20)
    await desk.close()
    assert await desk.closed() == [100]
    desk.scene.clock.advance(1)
    await desk.close()
    assert await desk.closed() == [100, 90]


async def test_a_webhook_says_how_many(desk: Desk) -> None:
    """More or fewer than a hundred."""
    changed(desk.scene, GOOD, batch_events_max=10)
    changed(desk.scene, BAD, batch_events_max=500)
    await desk.lay(*[5] * 5)
    await desk.lay(*[90] * 5, to=BAD)
    await desk.close()
    assert (await desk.closed(GOOD), await desk.closed(BAD)) == ([10, 10], [])
    desk.scene.clock.advance(1)
    await desk.close()
    assert (await desk.closed(GOOD), await desk.closed(BAD)) == ([10, 10, 5], [450])


async def test_what_is_large_goes_at_once(desk: Desk) -> None:
    """No body above what receivers take."""
    for _ in range(5):
        await desk.lay_bytes(b"1".ljust(BODY_BYTES_MAX // 2 - 100))
    await desk.close()
    claimed = await desk.scene.outbox.claim({GOOD: Wanted(fresh=9)}, claim_seconds=30)
    assert [each.batch.event_count for each in claimed] == [2, 2]
    assert all(len(each.batch.body) <= BODY_BYTES_MAX for each in claimed)


async def test_a_clock_that_was_set_back_holds_up_nothing(desk: Desk) -> None:
    """What seems to come from the future is closed."""
    await desk.lay(3)
    desk.scene.clock._start -= 3_600
    await desk.close()
    assert (await desk.scene.counts()).waiting_batches == 1


async def test_a_batch_has_the_target_and_headers_of_its_closing(desk: Desk) -> None:
    """Not those of the time at which its events came."""
    await desk.lay(3)
    changed(desk.scene, GOOD, target="https://new.test/", custom_headers={"X-One": "1"})
    desk.scene.clock.advance(1)
    await desk.close()
    [due] = await desk.scene.outbox.claim({GOOD: Wanted(fresh=9)}, claim_seconds=30)
    assert (due.batch.target, due.batch.headers) == ("https://new.test/", {"X-One": "1"})


async def test_who_is_well_has_its_batches_claimed_at_once(desk: Desk) -> None:
    """They are tried from memory; those of others, and what does not fit, wait in the outbox, and it is said."""
    desk.scene.lanes.is_running = True
    await desk.lay(100)
    await desk.lay(100, to=BAD)
    desk.scene.lanes.lane(BAD).is_behind = True
    assert [each.batch.webhook_id for each in await desk.close()] == [GOOD]
    assert desk.closer.has_left_to_look
    assert await desk.closed(BAD) == [100]
    await desk.lay(100)
    assert len(await desk.close()) == 1
    assert not desk.closer.has_left_to_look
    desk.scene.lanes.fresh_bytes = FRESH_BYTES_MAX
    await desk.lay(100)
    assert await desk.close() == []
    assert desk.closer.has_left_to_look
    desk.scene.lanes.fresh_bytes = 0


async def test_one_step_claims_no_more_than_memory_holds(desk: Desk) -> None:
    """However many webhooks it closes for."""
    desk.scene.lanes.is_running = True
    big = b"1".ljust(BODY_BYTES_MAX - 100)
    desk.scene.lanes.fresh_bytes = FRESH_BYTES_MAX - 2 * BODY_BYTES_MAX
    for number in range(4):
        desk.scene.table.rows[str(number)] = Webhook(str(number), "", GOOD, TYPES)
        await desk.lay_bytes(big, to=str(number))
    desk.scene.clock.advance(1)
    assert len(await desk.close()) == 2
    desk.scene.lanes.fresh_bytes = 0


async def test_nobody_is_left_behind(desk: Desk) -> None:
    """Many webhooks, and one with more segments than fit a transaction, first by name: the others are closed in the same step."""
    names = [f"w{number:03}" for number in range(2 * CLOSED_MAX + 7)]
    for name in names:
        desk.scene.table.rows[name] = Webhook(name, "", GOOD, TYPES)
    for name in names:
        await desk.lay(1, to=name)
    desk.scene.table.rows["a"] = Webhook("a", "", GOOD, TYPES, batch_events_max=1)
    desk.scene.clock.advance(0.001)
    await desk.lay(*[1] * 700, to="a")
    desk.scene.clock.advance(1)
    await desk.close()
    assert [await desk.closed(name) for name in names] == [[1]] * len(names)
    await desk.close()
    assert len(await desk.closed("a")) == 700


async def test_segments_of_a_deleted_webhook_are_dropped_and_counted(desk: Desk) -> None:
    """Nobody wants them any more; it is said."""
    await desk.lay(3, 4)
    del desk.scene.table.rows[GOOD]
    desk.scene.clock.advance(1)
    with capture_logs() as logs:
        await desk.close()
    assert [(each["event"], each["events"]) for each in logs] == [("webhook_events_dropped", 7)]
    counts = await desk.scene.counts()
    assert (counts.dropped_events, counts.waiting_events) == (7, 0)


async def test_segments_of_a_webhook_that_was_just_made_are_not_dropped(desk: Desk) -> None:
    """Another process matched it: that our list of a second ago lacks it says nothing."""
    await desk.lay(3)
    await desk.close()  # and with it the list is read
    desk.scene.table.rows["new"] = Webhook("new", "", GOOD, TYPES)
    await desk.lay(100, to="new")
    await desk.close()
    assert (await desk.scene.counts()).dropped_events == 0
    assert await desk.closed("new") == [100]


async def test_paused_and_stopped_webhooks_are_closed_too(desk: Desk) -> None:
    """Their batches wait in the outbox, claimed by nobody."""
    desk.scene.lanes.is_running = True
    changed(desk.scene, GOOD, active=False)
    desk.scene.lanes.lane(BAD).is_stopped = True
    await desk.lay(100)
    await desk.lay(100, to=BAD)
    await desk.close()
    assert await desk.closed(BAD) == [100]


async def test_two_processes_close_each_segment_once(desk: Desk) -> None:
    """At the same time, many times."""
    other = desk.another()
    for _ in range(10):
        await desk.lay(*[30] * 10)
        await desk.lay(*[30] * 10, to=BAD)
        await asyncio.gather(desk.closer.close(claim_seconds=30), other.close(claim_seconds=30))
    desk.scene.clock.advance(1)
    await desk.close()
    bodies: list[bytes] = []
    for to in (GOOD, BAD):
        bodies += [each.batch.body for each in await desk.scene.outbox.claim({to: Wanted(fresh=999)}, claim_seconds=30)]
    found = numbers(bodies)
    assert len(found) == len(set(found)) == 6_000


async def test_it_looks_often_while_something_waits(desk: Desk) -> None:
    """And else once a second, for what other processes put."""
    await desk.close()
    assert await desk.is_waiting(POLL_SECONDS)
    await desk.lay(3)
    await desk.close()
    assert await desk.is_waiting(LOOK_SECONDS)


async def test_a_word_is_heard(desk: Desk) -> None:
    """Also one that came during a look that could not see it."""
    await desk.close()
    waiting = asyncio.create_task(desk.closer.wait())
    await desk.scene.rest()
    desk.closer.wake()
    await asyncio.wait_for(waiting, 5)
    closing = asyncio.create_task(desk.close())
    await asyncio.sleep(0)
    desk.closer.wake()
    await closing
    await asyncio.wait_for(desk.closer.wait(), 5)


async def test_an_outbox_that_is_away_is_not_asked_all_the_time(desk: Desk) -> None:
    """Once a second, and what waits is closed when it is back."""
    await desk.lay(100)
    await desk.close()
    desk.scene.outbox.is_away = True
    with pytest.raises(UnavailableError):
        await desk.close()
    assert not desk.closer.has_left_to_look
    assert await desk.is_waiting(POLL_SECONDS)
    desk.scene.outbox.is_away = False
    await desk.close()
    assert await desk.closed() == [100]


async def test_what_was_joined_before_an_outage_is_tried_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of several transactions, of which the second finds the outbox away: the first one's batches do not wait for it."""
    names = [f"https://w{number:02}.test/" for number in range(CLOSED_MAX + 1)]
    desk.scene.table.rows |= {each: Webhook(each, each, each, TYPES) for each in names}
    desk.scene.lanes.is_running = True
    for name in names:
        await desk.lay(1, to=name)
    desk.scene.clock.advance(2)
    join, joins = desk.scene.outbox.join, 0

    async def away_at_the_second(*closings: Any, **claim: Any) -> list[DueBatch]:
        nonlocal joins
        joins += 1
        if joins == 2:
            raise UnavailableError("away")
        return await join(*closings, **claim)

    monkeypatch.setattr(desk.scene.outbox, "join", away_at_the_second)
    assert len(await desk.close()) == CLOSED_MAX
    assert len(await desk.close()) == 1
