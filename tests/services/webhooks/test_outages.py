"""Delivery as a whole: poison, crashes, and customers that are away for minutes or days; nothing lost, nothing changed."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.builders import envelope, line
from tests.services.webhooks.fakes import OK, Post
from tests.services.webhooks.scene import BAD, GOOD, Scene, numbers, opened

from omni_etl.event import TYPES
from omni_etl.outbox import FAILURES_OPEN, Batch, Cut, Lane, Segment, Wanted
from omni_etl.poster import Answer
from omni_etl.services.webhooks.delivery import POLL_SECONDS
from omni_etl.services.webhooks.lanes import FRESH_BYTES_MAX, DeliveryLimits
from omni_etl.webhook import Webhook

AWAY = Answer(503, "503")
REFUSED = Answer(400, "400")
DAY = 86_400


def numbered(name: str, count: int, *, to: str = GOOD) -> Batch:
    """Of so many events, each its own number."""
    return Batch(name, to, to, {}, json.dumps(list(range(count))).encode(), count)


async def put(scene: Scene, *batches: Batch) -> None:
    """By way of this process."""
    scene.puts += 1
    await scene.delivery.put(envelope([line()], seq=scene.puts), Cut(batches))


def taken(scene: Scene) -> list[int]:
    """Events in batches that the customer took, each time that it did."""
    return numbers([post.body for post in scene.customer.taken])


@pytest.mark.parametrize("poison", [0, 1, 49, 50, 63, 98, 99])
async def test_one_poison_among_a_hundred(scene: Scene, poison: int) -> None:
    """Who refuses any batch with it gets the other 99 within 15 requests; the one is parked, with its reason."""
    scene.customer.answer_of = lambda post: REFUSED if poison in json.loads(post.body) else OK
    await put(scene, numbered("whole", 100))
    await scene.until(lambda: len(taken(scene)) == 99)
    await scene.rest()
    assert len(scene.customer.posts) <= 15
    assert sorted(taken(scene)) == sorted({*range(100)} - {poison})
    counts = await scene.counts()
    assert (counts.waiting_events, counts.delivered_events, counts.given_up_events) == (0, 99, 1)
    troubles = await scene.deliveries.troubles(GOOD, count_max=99)
    assert [each.answer for each in troubles if each.answer.startswith("refused alone")] == ["refused alone: 400"]


async def test_three_poisons_are_parked_and_no_more(scene: Scene) -> None:
    """Also where each half holds one; every event has one place at the end."""
    poisons = {3, 51, 52}
    scene.customer.answer_of = lambda post: REFUSED if poisons & set(json.loads(post.body)) else OK
    await put(scene, numbered("whole", 100))
    await scene.until(lambda: len(taken(scene)) == 97)
    await scene.rest()
    counts = await scene.counts()
    assert (counts.waiting_events, counts.delivered_events, counts.given_up_events) == (0, 97, 3)


@pytest.mark.parametrize(("events", "pause_seconds"), [(100, 0), (2, 0), (100, 30), (3, 30), (2, 600), (1, 30)])
async def test_who_refuses_everything_loses_nothing(scene: Scene, events: int, pause_seconds: int) -> None:
    """A customer that deployed a fault for a day: nothing is parked, however few events it gets, and however seldom."""
    await put(scene, numbered("well", 1))
    await scene.delivered(1)
    scene.customer.taken.clear()
    scene.clock.advance(1)
    end = scene.clock.monotonic() + DAY
    scene.customer.answer_of = lambda _: REFUSED if scene.clock.monotonic() < end else OK
    for number in range(20):
        await put(scene, numbered(f"b{number}", events))
        await scene.rest()
        scene.clock.advance(pause_seconds)
    await scene.until(lambda: scene.clock.monotonic() > end, step_seconds=600)
    await scene.until(lambda: len(taken(scene)) >= 20 * events, step_seconds=15)
    await scene.rest()
    counts = await scene.counts()
    assert (counts.delivered_events, counts.waiting_events, counts.given_up_events) == (20 * events + 1, 0, 0)
    assert Counter(taken(scene)) == dict.fromkeys(range(events), 20)


async def test_two_poisons_side_by_side_are_parked_though_nothing_else_comes(scene: Scene) -> None:
    """They are tried by their schedule until something went through that came after them; then once more."""
    scene.customer.answer_of = lambda post: REFUSED if json.loads(post.body) != [7] else OK
    await put(scene, numbered("pair", 2))
    await scene.until(lambda: len(scene.customer.posts) >= 5, step_seconds=1)
    assert (await scene.counts()).given_up_events == 0
    await put(scene, Batch("well", GOOD, GOOD, {}, b"[7]", 1))
    await scene.until(lambda: len(scene.customer.posts) >= 8, step_seconds=10)
    await scene.rest()
    counts = await scene.counts()
    assert (counts.delivered_events, counts.given_up_events, counts.waiting_events) == (1, 2, 0)


async def test_after_ten_failures_only_probes(scene: Scene) -> None:
    """One a while: after half a minute, twice that, up to ten minutes, jittered; each the smallest that waits."""
    scene.customer.answer_of = lambda _: AWAY
    await put(scene, *(numbered(f"b{number}", 9) for number in range(30)))
    times: list[float] = []

    def note() -> bool:
        times.extend([scene.clock.monotonic()] * (len(scene.customer.posts) - len(times)))
        return len(times) >= FAILURES_OPEN

    await scene.until(note)
    await put(scene, numbered("small", 1))
    opened_at = times[-1]
    await scene.until(lambda: note() and scene.clock.monotonic() > opened_at + 3_000, step_seconds=1.0, steps_max=4_000)
    pauses = [later - sooner for sooner, later in zip(times[FAILURES_OPEN - 1 :], times[FAILURES_OPEN:], strict=False)]
    for pause, most in zip(pauses, [30, 60, 120, 240, 480, *[600] * 30], strict=False):
        assert most / 2 <= pause <= most + 2 * POLL_SECONDS, (pause, most)
    assert len(set(pauses)) > len(pauses) / 2
    assert {post.batch_id for post in scene.customer.posts[FAILURES_OPEN:]} == {"small"}
    assert (await scene.lane()).failures == len(times)


async def test_probes_use_up_no_attempt_and_a_success_ends_it(scene: Scene) -> None:
    """However many there were; then it begins with little, grows, and what waited goes, nothing dropped."""
    end = 3 * 3_600.0
    scene.customer.answer_of = lambda _: AWAY if scene.clock.monotonic() < end else OK
    await put(scene, *(numbered(f"b{number:02}", 5) for number in range(60)))
    await scene.until(lambda: scene.clock.monotonic() >= end, step_seconds=60)
    failed = len(scene.customer.posts)
    assert failed >= FAILURES_OPEN + 10
    claimed = await scene.outbox.claim({GOOD: Wanted(fresh=999, retries=999)}, claim_seconds=0)
    assert max(each.attempts for each in claimed) <= 2
    await scene.outbox.release(claimed)
    in_flight = scene.customer.in_flight_max
    assert await scene.delivered(60, step_seconds=5) <= 600 + 300
    counts = await scene.counts()
    assert (counts.waiting_batches, counts.given_up_batches, counts.dropped_events) == (0, 0, 0)
    assert in_flight == 1
    assert scene.customer.in_flight_max <= 6
    assert (await scene.lane()).failures == 0


async def test_a_short_absence_pauses_for_half_a_minute(tmp_path: Path) -> None:
    """Though thirty attempts were under way as it began: who was away for five seconds is not left alone for ten minutes."""
    async with opened(tmp_path, DeliveryLimits(100, 50, attempt_seconds_max=10.0)) as scene:
        await scene.start()
        lane = scene.lanes.lane(GOOD)
        lane.is_known, lane.is_proven, lane.limit = True, True, 30.0
        scene.customer.hanging.add(GOOD)
        await put(scene, *(numbered(f"b{number:02}", 5) for number in range(60)))
        await scene.rest()
        assert scene.customer.in_flight == 30
        scene.customer.answer_of = lambda _: AWAY if scene.clock.monotonic() < 5 else OK
        scene.customer.released.set()
        await scene.rest()
        assert 15 <= await scene.until(lambda: len(scene.customer.posts) > 30) <= 30 + 2 * POLL_SECONDS
        await scene.delivered(60)
        assert scene.clock.monotonic() < 400  # the second wait of those that failed as probes did not


async def test_four_days_away_and_everything_arrives(scene: Scene) -> None:
    """Envelopes come all the time: no batch is given up, no webhook stopped, every event taken once it is back."""
    end = 4 * DAY
    scene.customer.answer_of = lambda _: AWAY if scene.clock.monotonic() < end else OK
    sent = 0
    while scene.clock.monotonic() < end:
        scene.puts += 1
        batch = Batch(f"b{scene.puts}", GOOD, GOOD, {}, json.dumps(list(range(sent, sent + 5))).encode(), 5)
        text = ",".join(map(str, range(sent + 5, sent + 8))).encode()
        cut = Cut([batch], [Segment(GOOD, f"s{scene.puts}", text, 3)])
        await scene.delivery.put(envelope([line()], seq=scene.puts), cut)
        sent += 8
        for _ in range(5):
            await scene.rest()
            scene.clock.advance(1_440)
    counts = await scene.counts()
    assert (counts.waiting_events, counts.delivered_events, counts.given_up_events) == (sent, 0, 0)
    assert scene.lanes.fresh_bytes == 0
    await scene.until(lambda: len(taken(scene)) >= sent, step_seconds=30)
    await scene.rest()
    assert sorted(taken(scene)) == list(range(sent))
    counts = await scene.counts()
    assert (counts.waiting_events, counts.given_up_events, counts.dropped_events) == (0, 0, 0)


async def test_five_days_away_stop_it_and_nothing_is_lost(scene: Scene) -> None:
    """It is shown before; then not one attempt, until somebody says go, and everything arrives."""
    scene.customer.answer_of = lambda _: AWAY
    await put(scene, *(numbered(f"b{number:02}", 5) for number in range(30)))
    await scene.until(lambda: scene.clock.monotonic() >= 5 * DAY - 3_600, step_seconds=1_800)
    assert (await scene.lane()).stopped_at_ms is None
    await scene.until(lambda: scene.clock.monotonic() >= 5 * DAY + 3_600, step_seconds=1_800)
    reason = (await scene.lane()).stopped_reason
    assert reason is not None
    assert reason.startswith("no success in 5 days")
    posts = len(scene.customer.posts)
    await scene.until(lambda: scene.clock.monotonic() >= 6 * DAY, step_seconds=1_800)
    assert len(scene.customer.posts) == posts
    scene.customer.answer_of = lambda _: OK
    assert await scene.deliveries.resume(GOOD)
    await scene.delivered(30)
    assert (await scene.counts()).given_up_events == 0


async def test_a_day_away_at_full_rate_costs_disk_and_no_memory(scene: Scene) -> None:
    """Another customer's go on as ever; counters are what was sent, at each hour; then it drains by itself."""
    hours, per_hour, events = 24, 4, 100
    scene.customer.answer_of = lambda post: AWAY if post.target == BAD and scene.clock.monotonic() < DAY + 1 else OK
    waiting = 0
    for hour in range(hours):
        for _ in range(per_hour):
            scene.puts += 1
            batches = [Batch(f"{to}{scene.puts}", to, to, {}, b"[0]", events) for to in (GOOD, BAD)]
            await scene.delivery.put(envelope([line()], seq=scene.puts), Cut(batches))
            waiting += events
            await scene.rest()
            assert scene.lanes.fresh_bytes <= 10 * 3 <= FRESH_BYTES_MAX
            assert len(scene.lanes.lane(BAD).fresh) <= FAILURES_OPEN
            scene.clock.advance(3_600 / per_hour)
        await scene.rest()
        lanes = {each.webhook_id: each for each in await scene.deliveries.waiting()}
        assert (lanes[BAD].waiting_events, lanes[BAD].waiting_batches) == (waiting, waiting // events), hour
        assert set(lanes) == {BAD}
    good = [post for post in scene.customer.posts if post.target == GOOD]
    assert len(good) == hours * per_hour
    assert len(scene.lanes._lanes) == 2
    assert len(scene.clock._sleepers) < 100
    began = scene.clock.monotonic()
    await scene.delivered(2 * hours * per_hour, step_seconds=5)
    lane: Lane = await scene.lane(BAD)
    assert (lane.waiting_events, lane.waiting_bytes, lane.delivered_events) == (0, 0, waiting)
    assert scene.clock.monotonic() - began < 600 + 300


async def test_ninety_customers_that_hang_cost_ten_nothing(tmp_path: Path) -> None:
    """Each attempt of theirs lasts until its time is out; the healthy ones' begin as they are put: no time passes."""
    names = [f"https://h{number:02}.test/" for number in range(90)]
    healthy = [f"https://g{number}.test/" for number in range(10)]
    async with opened(tmp_path, DeliveryLimits(64, 16, attempt_seconds_max=10.0)) as scene:
        scene.table.rows = {each: Webhook(each, each, each, TYPES) for each in (*names, *healthy)}
        scene.customer.hanging = set(names)
        await scene.start()
        await put(scene, *(numbered(f"{name}first", 3, to=name) for name in healthy))
        await scene.rest()
        for name in names:
            await put(scene, *(numbered(f"{name}{number}", 3, to=name) for number in range(5)))
        await scene.rest()
        assert scene.customer.in_flight == 32
        for moment in range(20):
            before = len(scene.customer.posts)
            await put(scene, *(numbered(f"{name}{moment}", 3, to=name) for name in healthy))
            await scene.rest()
            begun = [post.target for post in scene.customer.posts[before:]]
            assert sorted(each for each in begun if each in healthy) == healthy
            scene.clock.advance(0.1)
        assert (await scene.counts()).delivered_batches == 210
        scene.customer.released.set()


async def test_after_a_restart_who_was_well_waits_for_nobody(tmp_path: Path) -> None:
    """Thirty customers hang, more than the strangers' share of slots; the next process posts to the healthy one at once."""
    names = [f"https://h{number:02}.test/" for number in range(30)]
    async with opened(tmp_path, DeliveryLimits(16, 4, attempt_seconds_max=10.0)) as scene:
        scene.table.rows |= {each: Webhook(each, each, each, TYPES) for each in names}
        await scene.start()
        await put(scene, numbered("before", 1))
        await scene.delivered(1)
        await scene.stop()
        scene.made()
        scene.customer.hanging = set(names)
        for name in names:
            await put(scene, *(numbered(f"{name}{number}", 1, to=name) for number in range(3)))
        await put(scene, numbered("after", 1))
        await scene.start()
        took = await scene.until(lambda: "after" in scene.customer.ids, step_seconds=0.1)
        assert took <= POLL_SECONDS
        scene.customer.released.set()


answers = st.lists(
    st.sampled_from([OK, AWAY, REFUSED, Answer(429, "429", retry_after_seconds=20.0), Answer(None, "timeout"), None]),
    max_size=14,
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(answers, st.integers(0, 1_000))
def test_a_batch_is_the_same_on_every_attempt(script: Sequence[Answer | None], seed: int) -> None:
    """Whatever is answered, and wherever the process dies: one id, one body; new bytes have a new id that names its parent."""
    with TemporaryDirectory() as directory:
        asyncio.run(_told(Path(directory), script, seed))


async def _told(directory: Path, script: Sequence[Answer | None], seed: int) -> None:
    async with opened(directory, seed=seed) as scene:
        left = list(script)

        def answer_of(_: Post) -> Answer:
            answer = left.pop(0) if left else OK
            if answer is None:
                raise ProcessLookupError  # it died before it could write the answer down
            return answer

        scene.customer.answer_of = answer_of
        await scene.start()
        await put(scene, numbered("a", 4), Batch("b", GOOD, GOOD, {}, b"[20]", 1))
        await scene.send_segment(10, 11, 12)
        seen: dict[str, Batch] = {}
        for turn in range(400):
            await scene.rest()
            claimed = await scene.outbox.claim({GOOD: Wanted(fresh=99, retries=99)}, claim_seconds=0)
            await scene.outbox.release(claimed)
            for each in claimed:
                assert seen.setdefault(each.batch.id, each.batch) == each.batch
            counts = await scene.counts()
            if not counts.waiting_events:
                break
            scene.clock.advance(300 if turn < 20 else 14_400)
        bodies: dict[str, set[bytes]] = {}
        for post in scene.customer.posts:
            bodies.setdefault(post.batch_id, set()).add(post.body)
        assert all(len(each) == 1 for each in bodies.values())
        assert len({next(iter(each)) for each in bodies.values()}) == len(bodies)
        assert (counts.waiting_events, counts.delivered_events + counts.given_up_events) == (0, 8)
        assert {each.parent_id for each in seen.values()} <= {None, *bodies}
