"""services.webhooks.delivery: what is due is tried, from memory or from the outbox, whatever happens on the way."""

import asyncio
import random
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.builders import envelope, line
from tests.services.webhooks.scene import BAD, CLAIM_SECONDS, GOOD, LIMITS, Scene, batches, changed, opened

from omni_etl.errors import IdConflictError, UnavailableError
from omni_etl.outbox import Batch, Cut, DueLane, Lane, Wanted
from omni_etl.poster import Answer
from omni_etl.services.webhooks.delivery import POLL_SECONDS, RECORD_SECONDS, STOP_SECONDS, _wanted
from omni_etl.services.webhooks.lane import WebhookLane
from omni_etl.services.webhooks.lanes import FRESH_BYTES_MAX

TWENTY = [f"{number:02}" for number in range(20)]


@pytest.fixture
def proven(scene: Scene) -> Scene:
    """Its good customer is known to be well, and bears what one webhook may have."""
    lane = scene.lanes.lane(GOOD)
    lane.is_known, lane.is_proven, lane.limit = True, True, 6.0
    return scene


async def test_a_fresh_batch_goes_at_once(scene: Scene) -> None:
    """Woken by whoever put it: no time passes."""
    await scene.put("a")
    scene.delivery.wake()
    await scene.rest()
    assert scene.customer.ids == ["a"]
    assert (await scene.counts()).delivered_batches == 1


async def test_a_fresh_batch_goes_from_memory(scene: Scene) -> None:
    """The outbox is not asked for what was just put, and it is noted all the same; a redo is known."""
    claims = scene.outbox.claims
    await scene.send("a", "b")
    await scene.rest()
    scene.puts -= 1
    await scene.send("a", "b")
    await scene.rest()
    assert sorted(scene.customer.ids) == ["a", "b"]
    assert scene.outbox.claims == claims
    scene.nothing_is_held()


async def test_fresh_batches_wait_for_a_slot(proven: Scene) -> None:
    """No more in flight than the webhook bears, and as attempts end the next begins, in their order; no time passes."""
    proven.customer.hanging.add(GOOD)
    await proven.send(*TWENTY)
    await proven.rest()
    assert proven.customer.ids == TWENTY[:6]
    proven.customer.released.set()
    await proven.rest()
    assert (proven.customer.ids, proven.customer.in_flight_max) == (TWENTY, 6)
    assert (await proven.counts()).delivered_batches == 20


async def test_slots_asked_for_are_not_given_away(proven: Scene) -> None:
    """What is put while a claim is under way begins only in slots that the claim left free."""
    proven.customer.hanging.add(GOOD)
    proven.outbox.may_answer.clear()
    await proven.put(*TWENTY[:5])
    proven.delivery.wake()
    await proven.rest()
    proven.lanes.lane(GOOD).is_behind = False
    await proven.send("x", "y", "z")
    proven.outbox.may_answer.set()
    await proven.rest()
    assert len(proven.customer.posts) == 6
    proven.customer.released.set()
    await proven.delivered(8)
    assert proven.customer.in_flight_max == 6


async def test_memory_holds_no_more_than_allowed(scene: Scene) -> None:
    """While a customer hangs, what does not fit waits in the outbox, unclaimed; then it follows."""
    scene.customer.hanging.add(BAD)
    for name in ("a", "b", "c"):
        await scene.send(name, to=BAD, size_bytes=FRESH_BYTES_MAX // 2)
    await scene.rest()
    assert scene.lanes.fresh_bytes == FRESH_BYTES_MAX
    assert await scene.unclaimed(BAD) == ["c"]
    scene.customer.released.set()
    await scene.delivered(3)
    scene.nothing_is_held()


async def test_what_a_look_claimed_counts_as_memory_too(scene: Scene) -> None:
    """Until its attempt ends: so much less is kept of what comes meanwhile."""
    scene.customer.hanging.add(BAD)
    await scene.put("a", to=BAD, size_bytes=FRESH_BYTES_MAX)
    scene.delivery.wake()
    await scene.rest()
    assert (scene.customer.ids, scene.lanes.fresh_bytes) == (["a"], FRESH_BYTES_MAX)
    scene.customer.released.set()
    await scene.delivered(1)
    scene.nothing_is_held()


async def test_what_waits_in_the_outbox_comes_before_what_is_fresh(proven: Scene) -> None:
    """Behind with its work, delivery keeps nothing new of this webhook in memory; of others it does."""
    proven.lanes.lane(GOOD).limit = 4.0
    proven.customer.hanging.add(GOOD)
    await proven.put(*TWENTY)
    proven.delivery.wake()
    await proven.rest()
    await proven.send("new")
    await proven.send("other", to=BAD)
    assert proven.lanes.fresh_bytes == 4 * 2 + 2  # four that a look claimed, and the other's
    await proven.rest()
    assert proven.customer.ids[-1] == "other"
    proven.customer.hanging.clear()
    proven.customer.released.set()
    await proven.delivered(22)
    assert proven.customer.ids[-1] == "new"
    await proven.until(lambda: not proven.lanes.lane(GOOD).is_behind)
    claims = proven.outbox.claims
    await proven.send("fresh")
    await proven.rest()
    assert (proven.customer.ids[-1], proven.outbox.claims) == ("fresh", claims)


async def test_what_waited_too_long_in_memory_is_not_tried(scene: Scene) -> None:
    """Its claim leaves no time for an attempt: it lapses and comes from the outbox, once."""
    scene.customer.hanging.add(GOOD)
    await scene.send("a", "b")
    await scene.rest()
    scene.clock.advance(RECORD_SECONDS)
    scene.customer.hanging.clear()
    scene.customer.released.set()
    await scene.rest()
    assert scene.customer.ids == ["a"]
    scene.nothing_is_held()
    await scene.delivered(2)
    assert scene.customer.ids == ["a", "b"]
    assert scene.clock.monotonic() >= CLAIM_SECONDS


async def test_a_stop_gives_back_what_was_not_tried(proven: Scene) -> None:
    """It is due at once, its attempts uncounted; what is put during the stop is due at once, too."""
    proven.customer.hanging.add(GOOD)
    await proven.send(*TWENTY[:8])
    await proven.rest()
    assert proven.running is not None
    proven.running.cancel()
    await asyncio.sleep(0)
    proven.customer.released.set()
    await proven.stop()
    await proven.send("later")
    due = await proven.outbox.claim({GOOD: Wanted(fresh=9)}, claim_seconds=1)
    assert sorted((each.batch.id, each.attempts) for each in due) == [("06", 0), ("07", 0), ("later", 0)]
    assert (await proven.counts()).delivered_batches == 6


async def test_a_put_that_ends_after_the_stop_gives_back(scene: Scene) -> None:
    """Nothing is begun any more, and nothing is left claimed."""
    scene.outbox.may_put.clear()
    putting = asyncio.create_task(scene.send("a"))
    await scene.rest()
    await scene.stop()
    scene.outbox.may_put.set()
    await putting
    assert scene.customer.posts == []
    assert await scene.unclaimed() == ["a"]


async def test_a_claim_that_ends_after_the_stop_is_given_back(scene: Scene) -> None:
    """A restart costs none of its batches the time of a claim."""
    scene.outbox.may_answer.clear()
    await scene.put("a")
    scene.delivery.wake()
    await scene.rest()
    assert scene.running is not None
    scene.running.cancel()
    await scene.rest()
    scene.outbox.may_answer.set()
    await scene.stop()
    assert scene.customer.posts == []
    assert await scene.unclaimed() == ["a"]


async def test_what_was_joined_at_the_stop_is_given_back(scene: Scene) -> None:
    """Likewise."""
    scene.outbox.may_join.clear()
    await scene.send_segment(*range(100))
    await scene.rest()
    assert await scene.unclaimed() == []
    assert scene.running is not None
    scene.running.cancel()
    await scene.rest()
    scene.outbox.may_join.set()
    await scene.stop()
    assert len(await scene.unclaimed()) == 1


async def test_a_put_that_fails_frees_its_room(scene: Scene) -> None:
    """Whatever it met; else memory would seem full one day."""
    await scene.outbox.put(envelope([line("click")]), Cut())
    with pytest.raises(IdConflictError):
        await scene.delivery.put(envelope([line("open")]), Cut(batches("a")))
    scene.outbox.is_away = True
    with pytest.raises(UnavailableError):
        await scene.send("b")
    scene.nothing_is_held()


async def test_others_batches_and_retries_are_found_by_looking(scene: Scene) -> None:
    """Without a word, within a second of being due."""
    scene.customer.answers.append(Answer(500, "500"))
    await scene.put("a")
    scene.clock.advance(POLL_SECONDS)
    await scene.rest()
    assert scene.customer.ids == ["a"]
    assert 4.75 <= await scene.until(lambda: len(scene.customer.posts) == 2) <= 5.25 + POLL_SECONDS
    await scene.delivered(1)


async def test_no_more_in_flight_than_allowed(proven: Scene) -> None:
    """Nothing is claimed that is not tried at once; as attempts end, the rest follows without a poll, many to a claim."""
    proven.customer.hanging.add(GOOD)
    await proven.put("first")
    proven.delivery.wake()
    await proven.rest()
    await proven.put(*TWENTY)
    proven.delivery.wake()
    await proven.rest()
    assert await proven.unclaimed() == TWENTY[5:]
    proven.customer.hanging.clear()
    proven.customer.released.set()
    assert await proven.delivered(21) < POLL_SECONDS
    assert proven.customer.in_flight_max == 6
    assert len(set(proven.customer.ids)) == len(proven.customer.posts) == 21
    assert proven.outbox.claims <= 6


async def test_a_hanging_customer_holds_only_its_slots(scene: Scene) -> None:
    """While one hangs, the batches of others go through the slots that are left."""
    scene.customer.hanging.add(BAD)
    await scene.put("b1", "b2", "b3", to=BAD)
    await scene.put(*TWENTY)
    scene.delivery.wake()
    await scene.delivered(20)
    assert scene.customer.in_flight == 1


async def test_a_word_during_a_look_is_not_lost(scene: Scene) -> None:
    """Put and woken while a claim is under way that cannot see it: the next look comes at once."""
    scene.outbox.may_answer.clear()
    await scene.put("first", to=BAD)
    scene.delivery.wake()
    await scene.rest()
    await scene.put("a")
    scene.delivery.wake()
    scene.outbox.may_answer.set()
    await scene.rest()
    assert scene.customer.ids == ["first", "a"]


@pytest.mark.parametrize("kind", ["look_failures", "claim_failures"])
async def test_an_outbox_that_is_away_is_waited_for(scene: Scene, kind: str) -> None:
    """With growing pauses and one line in the log; then delivery goes on by itself, every slot in its place."""
    await scene.put("a")
    setattr(scene.outbox, kind, 4)
    with capture_logs() as logs:
        scene.delivery.wake()
        seconds = await scene.delivered(1)
    assert [each["event"] for each in logs] == ["webhook_delivery_waiting"]
    assert 0.1 + 0.2 + 0.4 + 0.8 <= seconds <= 3.0 + POLL_SECONDS


async def test_nobody_runs_hot_while_the_outbox_is_away(scene: Scene) -> None:
    """For ten minutes; attempts that end and words of others change nothing in that."""
    await scene.send_segment(1, 2, 3)
    scene.outbox.is_away = True
    looks, closings = scene.outbox.looks, scene.outbox.closings
    began = scene.clock.monotonic()
    while scene.clock.monotonic() < began + 600:
        await scene.rest()
        scene.clock.advance(0.25)
    assert 600 / 10 <= scene.outbox.looks - looks <= 600 / 5 + 10
    assert scene.outbox.closings - closings <= 600 + 1
    scene.outbox.is_away = False
    await scene.delivered(1)


async def test_a_rested_process_looks_once_a_second(scene: Scene) -> None:
    """Also while something waits that may not be tried: paused, stopped, held or claimed by others."""
    await scene.put("paused", to=BAD)
    changed(scene, BAD, active=False)
    await scene.put("stopped")
    await scene.deliveries.stop(GOOD, "a test")
    scene.clock.advance(POLL_SECONDS)
    await scene.rest()
    looks, began = scene.outbox.looks, scene.clock.monotonic()
    await scene.until(lambda: scene.clock.monotonic() >= began + 60)
    assert 59 <= scene.outbox.looks - looks <= 61
    assert scene.customer.posts == []


async def test_a_paused_webhooks_batches_wait(scene: Scene) -> None:
    """They are in nobody's way, and go when it is active again, their attempts uncounted."""
    changed(scene, BAD, active=False)
    scene.clock.advance(POLL_SECONDS)
    await scene.put(*TWENTY[:10], to=BAD)
    await scene.put("good")
    scene.delivery.wake()
    await scene.delivered(1)
    assert scene.customer.ids == ["good"]
    assert await scene.unclaimed(BAD) == TWENTY[:10]
    changed(scene, BAD, active=True)
    await scene.delivered(11)
    assert len(scene.customer.posts) == 11


async def test_an_error_of_ours_holds_up_one_batch_only(scene: Scene) -> None:
    """It is logged whole, the others go on, and the batch comes again when its claim has lapsed."""
    scene.customer.error = RuntimeError("a fault of ours")
    await scene.put("a", "b")
    with capture_logs() as logs:
        scene.delivery.wake()
        await scene.delivered(1)
    assert [(each["event"], each["exc_info"]) for each in logs] == [("service_failed", True)]
    assert scene.running is not None
    assert not scene.running.done()
    await scene.delivered(2)
    assert scene.clock.monotonic() >= CLAIM_SECONDS


async def test_webhooks_that_cannot_be_read_send_nothing(scene: Scene) -> None:
    """Without the secret no batch goes out; it is nobody's failed attempt."""
    await scene.put("a")
    scene.table.is_away = True
    scene.clock.advance(POLL_SECONDS)
    await scene.rest()
    assert scene.customer.posts == []
    scene.table.is_away = False
    await scene.delivered(1)
    assert (await scene.lane()).failures == 0


async def test_a_stop_lets_attempts_end(scene: Scene) -> None:
    """An attempt that is answered in time is recorded, so that the next start does not repeat it."""
    scene.customer.hanging.add(GOOD)
    await scene.send("a")
    await scene.rest()
    assert scene.running is not None
    scene.running.cancel()
    await asyncio.sleep(0)
    scene.customer.released.set()
    await asyncio.wait([scene.running])
    assert (await scene.counts()).delivered_batches == 1


async def test_a_stop_waits_for_nobody_long(scene: Scene) -> None:
    """An attempt that hangs is cut off, and the batch comes again, same id, after its claim."""
    scene.customer.hanging.add(GOOD)
    await scene.send("a")
    await scene.rest()
    began = scene.clock.monotonic()
    await scene.stop()
    assert scene.clock.monotonic() == began + STOP_SECONDS
    assert scene.customer.in_flight == 0
    assert await scene.unclaimed() == []
    scene.clock.advance(CLAIM_SECONDS)
    [due] = await scene.outbox.claim({GOOD: Wanted(fresh=9)}, claim_seconds=1)
    assert (due.batch.id, due.attempts) == ("a", 0)


async def test_a_held_webhooks_batches_do_not_wait_in_memory(scene: Scene) -> None:
    """Retry-After, for longer than a claim: they are given back at once, memory is free, and they go when the hold ends."""
    scene.customer.answers.append(Answer(429, "429", retry_after_seconds=120.0))
    scene.customer.hanging.add(GOOD)
    await scene.send(*TWENTY[:5])
    await scene.rest()
    scene.customer.released.set()
    await scene.rest()
    scene.nothing_is_held()
    assert await scene.unclaimed() == TWENTY[1:5]
    assert 120 <= await scene.delivered(5) <= 120 + 10 * POLL_SECONDS
    assert len(scene.customer.posts) == 6


async def test_a_stopped_webhook_gets_no_attempt_and_keeps_its_events(scene: Scene) -> None:
    """Also where nothing waited as it was stopped; after a resume everything goes, in its order."""
    await scene.send("before")
    await scene.delivered(1)
    await scene.deliveries.stop(GOOD, "a test")
    scene.clock.advance(POLL_SECONDS)
    await scene.rest()
    await scene.send("a", "b")
    await scene.send_segment(*range(3))
    began = scene.clock.monotonic()
    await scene.until(lambda: scene.clock.monotonic() >= began + 3_600, step_seconds=60)
    assert scene.customer.ids == ["before"]
    assert (await scene.counts()).waiting_events == 5
    scene.nothing_is_held()
    assert await scene.deliveries.resume(GOOD)
    await scene.delivered(4)
    assert scene.customer.ids[:3] == ["before", "a", "b"]
    assert (await scene.counts()).waiting_events == 0


async def test_gone_stops_it_and_what_lay_in_memory_waits(scene: Scene) -> None:
    """After 410 not one more attempt; what was answered with it goes again after the resume."""
    scene.customer.answers.append(Answer(410, "410"))
    scene.customer.hanging.add(GOOD)
    await scene.send(*TWENTY[:5])
    await scene.rest()
    scene.customer.released.set()
    await scene.until(lambda: scene.clock.monotonic() >= 7_200, step_seconds=60)
    assert scene.customer.ids == ["00"]
    scene.nothing_is_held()
    assert (await scene.lane()).stopped_reason == "the customer answered 410 Gone"
    assert await scene.deliveries.resume(GOOD)
    await scene.delivered(5)
    assert len(scene.customer.posts) == 6


async def test_a_new_process_knows_who_is_stopped_before_it_begins(tmp_path: Path) -> None:
    """What is put before its first look is kept, not tried."""
    async with opened(tmp_path) as scene:
        await scene.deliveries.stop(GOOD, "a test")
        scene.running = asyncio.create_task(scene.delivery.run())
        await asyncio.sleep(0)
        await scene.send("a")
        await scene.until(lambda: scene.clock.monotonic() >= 60)
        assert scene.customer.posts == []


async def test_a_full_backlog_loses_its_oldest(tmp_path: Path) -> None:
    """Of this webhook alone; counted, and said at ERROR; the newest stay and are delivered."""
    limits = type(LIMITS)(6, 6, attempt_seconds_max=10.0, backlog_bytes_max=3_000)
    async with opened(tmp_path, limits) as scene:
        await scene.deliveries.stop(BAD, "a test")
        await scene.start()
        dice = random.Random(1)
        for name in TWENTY:
            scene.puts += 1
            body = dice.randbytes(400)
            await scene.delivery.put(envelope([line()], seq=scene.puts), Cut([Batch(name, BAD, BAD, {}, body, 7)]))
            scene.clock.advance(0.001)
        with capture_logs() as logs:
            await scene.until(lambda: scene.clock.monotonic() >= 5)
        lane = await scene.lane(BAD)
        assert lane.waiting_bytes <= 3_000 < lane.waiting_bytes + 420
        assert (lane.dropped_events, lane.waiting_events) == (140 - lane.waiting_events, 7 * lane.waiting_batches)
        dropped = [each for each in logs if each["event"] == "webhook_events_dropped"]
        assert sum(each["events"] for each in dropped) == lane.dropped_events
        assert len(dropped) == 1
        assert {each["log_level"] for each in dropped} == {"error"}
        await scene.deliveries.resume(BAD)
        await scene.delivered(lane.waiting_batches)
        assert sorted(scene.customer.ids) == TWENTY[-lane.waiting_batches :]


async def test_a_backlog_ends_after_a_week(scene: Scene) -> None:
    """What nobody took for so long goes, counted; what is younger stays."""
    await scene.deliveries.stop(GOOD, "a test")
    scene.clock.advance(POLL_SECONDS)
    await scene.rest()
    await scene.send("old")
    await scene.until(lambda: scene.clock.monotonic() >= 6 * 86_400, step_seconds=21_600)
    await scene.send("young")
    await scene.until(lambda: scene.clock.monotonic() >= 8 * 86_400, step_seconds=21_600)
    assert await scene.unclaimed() == ["young"]
    assert (await scene.lane()).dropped_events == 1


@pytest.mark.parametrize(
    ("fresh_at_ms", "retry_at_ms", "wanted"),
    [
        (5, None, Wanted(fresh=5)),
        (5, 11, Wanted(fresh=5)),
        (None, 5, Wanted(retries=5)),
        (11, 5, Wanted(retries=5)),
        (5, 4, Wanted(fresh=2, retries=3)),
        (4, 5, Wanted(fresh=3, retries=2)),
    ],
)
def test_fresh_ones_and_repeated_ones_share_the_slots(
    fresh_at_ms: int | None, retry_at_ms: int | None, wanted: Wanted
) -> None:
    """By halves where both are due; with one slot, whichever waits for longer, so that neither starves."""
    due = DueLane(Lane("w"), fresh_at_ms, retry_at_ms)
    lane = WebhookLane("w", 32, 10.0)
    assert _wanted(lane, due, count=5, now_ms=10) == wanted
    one = _wanted(lane, due, count=1, now_ms=10)
    assert one == Wanted(fresh=wanted.fresh > wanted.retries, retries=wanted.retries > wanted.fresh)
    lane.failures = 10
    assert _wanted(lane, due, count=1, now_ms=10) == Wanted(is_probe=True)
