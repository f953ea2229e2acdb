"""services.webhooks.lanes: what is due is tried, so many at a time, whatever one customer does."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.builders import envelope, line
from tests.services.webhooks.fakes import CustomerPoster, StumblingOutbox, at_rest, someone_sleeps

from omni_etl.backends.database import DatabaseOutbox, DatabaseWebhooks
from omni_etl.clock import ManualClock
from omni_etl.errors import IdConflictError
from omni_etl.event import TYPES
from omni_etl.outbox import Batch, DueBatch
from omni_etl.poster import Answer
from omni_etl.services.webhooks.attempt import Attempts
from omni_etl.services.webhooks.lanes import (
    FRESH_BYTES_MAX,
    GATHER_SECONDS,
    POLL_SECONDS,
    RECORD_SECONDS,
    STOP_SECONDS,
    DeliveryLimits,
    Lanes,
)
from omni_etl.services.webhooks.subscriptions import Subscriptions
from omni_etl.webhook import Webhook

LIMITS = DeliveryLimits(in_flight_max=3, attempt_seconds_max=10.0)
GOOD, BAD = "https://good.test/", "https://bad.test/"
CLAIM_SECONDS = 10 + RECORD_SECONDS


@pytest.fixture
def lanes(webhooks: DatabaseWebhooks, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock) -> Lanes:
    """The subject, on the real database."""
    rng, subscriptions = random.Random(1), Subscriptions(webhooks, clock)
    attempts = Attempts(subscriptions=subscriptions, outbox=outbox, poster=customer, clock=clock, rng=rng)
    return Lanes(outbox=outbox, subscriptions=subscriptions, attempts=attempts, limits=LIMITS, clock=clock, rng=rng)


@pytest.fixture
async def running(lanes: Lanes, clock: ManualClock) -> AsyncIterator[asyncio.Task[None]]:
    """It runs, and has looked into an empty outbox once."""
    task = asyncio.create_task(lanes.run())
    await someone_sleeps(clock)
    yield task
    task.cancel()
    while not task.done():
        clock.advance(STOP_SECONDS)
        await asyncio.sleep(0)


async def put(outbox: StumblingOutbox, *names: str, target: str = GOOD) -> None:
    """Batches of these names; the webhook has the name of the target."""
    seq = sum(map(ord, "".join(names)))
    await outbox.put(envelope([line()], seq=seq), [Batch(name, target, target, {}, b"[]", 1) for name in names])


def batches(*names: str) -> list[Batch]:
    """For the customer who is well."""
    return [Batch(name, GOOD, GOOD, {}, b"[]", 1) for name in names]


async def delivered(outbox: StumblingOutbox, count: int) -> None:
    """Wait until the outbox says so."""
    while (await outbox.counts()).delivered_batches < count:
        await asyncio.sleep(0)


async def test_a_fresh_batch_goes_at_once(
    running: asyncio.Task[None], lanes: Lanes, outbox: StumblingOutbox, customer: CustomerPoster
) -> None:
    """Woken by whoever put it: no time passes."""
    await put(outbox, "a")
    lanes.wake()
    await delivered(outbox, 1)
    assert [post.batch_id for post in customer.posts] == ["a"]


async def test_a_fresh_batch_goes_from_memory(
    running: asyncio.Task[None], lanes: Lanes, outbox: StumblingOutbox, customer: CustomerPoster
) -> None:
    """The outbox is not asked for what was just put, and it is noted all the same; a redo is known."""
    looks = outbox.claims
    await lanes.put(envelope([line()]), batches("a", "b"))
    await delivered(outbox, 2)
    await lanes.put(envelope([line()]), batches("a", "b"))
    assert sorted(post.batch_id for post in customer.posts) == ["a", "b"]
    assert outbox.claims == looks
    assert lanes._fresh_bytes == 0


async def test_fresh_batches_wait_for_a_slot(
    running: asyncio.Task[None], lanes: Lanes, outbox: StumblingOutbox, customer: CustomerPoster
) -> None:
    """No more in flight than allowed, and as attempts end the next begins; no time passes."""
    customer.hanging.add(GOOD)
    await lanes.put(envelope([line()]), batches(*(f"{n:02}" for n in range(20))))
    await customer.posted(3)
    customer.released.set()
    await delivered(outbox, 20)
    assert customer.in_flight_max == 3
    assert [post.batch_id for post in customer.posts] == [f"{n:02}" for n in range(20)]


async def test_slots_asked_for_are_not_given_away(
    running: asyncio.Task[None], lanes: Lanes, outbox: StumblingOutbox, customer: CustomerPoster
) -> None:
    """What is put while a claim is under way begins only in slots that the claim left free."""
    customer.hanging.add(GOOD)
    outbox.may_answer.clear()
    made = outbox.claims_made
    await put(outbox, "a", "b", "c")
    lanes.wake()
    while outbox.claims_made == made:
        await asyncio.sleep(0)
    await lanes.put(envelope([line()]), batches("d", "e"))
    outbox.may_answer.set()
    await customer.posted(3)
    customer.released.set()
    await delivered(outbox, 5)
    assert customer.in_flight_max == 3


async def test_memory_holds_no_more_than_allowed(
    running: asyncio.Task[None],
    lanes: Lanes,
    outbox: StumblingOutbox,
    customer: CustomerPoster,
    clock: ManualClock,
) -> None:
    """While a customer hangs, what does not fit waits in the outbox, unclaimed; then it follows."""
    customer.hanging.add(BAD)
    big = bytes(FRESH_BYTES_MAX // 2)
    for seq in range(3):
        one = Batch(str(seq), BAD, BAD, {}, big, 1)
        await lanes.put(envelope([line()], seq=seq), [one])
    await customer.posted(2)
    assert lanes._fresh_bytes == FRESH_BYTES_MAX
    assert (await outbox.counts()).waiting_batches == 3
    await customer.posted(3)  # the third slot, by way of the outbox
    assert lanes._fresh_bytes == FRESH_BYTES_MAX
    customer.released.set()
    await delivered(outbox, 3)
    assert lanes._fresh_bytes == 0


async def test_what_waits_in_the_outbox_comes_before_what_is_fresh(
    running: asyncio.Task[None], lanes: Lanes, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """Behind with its work, delivery keeps nothing new in memory; a look that is due has the first free slots."""
    customer.hanging.add(GOOD)
    await put(outbox, *(f"old-{n}" for n in range(6)))
    lanes.wake()
    await customer.posted(3)
    await lanes.put(envelope([line()], seq=7), batches("new"))
    assert lanes._fresh_bytes == 0
    customer.hanging.clear()
    customer.released.set()
    while (await outbox.counts()).delivered_batches < 7:
        await at_rest(lanes, clock)
        clock.advance(GATHER_SECONDS)
    assert customer.posts[-1].batch_id == "new"
    await lanes.put(envelope([line()], seq=8), batches("fresh"))
    await delivered(outbox, 8)


async def test_what_waited_too_long_in_memory_is_not_tried(
    running: asyncio.Task[None], lanes: Lanes, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """Its claim leaves no time for an attempt: it lapses and comes from the outbox, once."""
    customer.hanging.add(GOOD)
    await lanes.put(envelope([line()]), batches("a", "b", "c", "d"))
    await customer.posted(3)
    clock.advance(RECORD_SECONDS)
    customer.hanging.clear()
    customer.released.set()
    await delivered(outbox, 3)
    while lanes._fresh_bytes:
        await asyncio.sleep(0)
    assert len(customer.posts) == 3
    await at_rest(lanes, clock)
    clock.advance(10)
    await delivered(outbox, 4)
    assert [post.batch_id for post in customer.posts] == ["a", "b", "c", "d"]


async def test_a_stop_gives_back_what_was_not_tried(
    running: asyncio.Task[None], lanes: Lanes, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """It is due at once, its attempts uncounted; what is put during the stop is due at once, too."""
    customer.hanging.add(GOOD)
    await lanes.put(envelope([line()]), batches("a", "b", "c", "d", "e"))
    await customer.posted(3)
    running.cancel()
    await asyncio.sleep(0)
    customer.released.set()
    await asyncio.wait([running])
    await lanes.put(envelope([line()], seq=2), batches("f"))
    due = await outbox.claim(count_max=10, claim_seconds=1)
    assert sorted((each.batch.id, each.attempts) for each in due) == [("d", 0), ("e", 0), ("f", 0)]
    assert lanes._fresh_bytes == 0


async def test_a_put_that_ends_after_the_stop_gives_back(
    running: asyncio.Task[None],
    lanes: Lanes,
    outbox: StumblingOutbox,
    customer: CustomerPoster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is begun any more, and nothing is left claimed."""
    may_go = asyncio.Event()

    async def slow(*args: Any, **named: Any) -> list[DueBatch]:
        claimed = await DatabaseOutbox.put_claimed(outbox, *args, **named)
        await may_go.wait()
        return claimed

    monkeypatch.setattr(outbox, "put_claimed", slow)
    putting = asyncio.create_task(lanes.put(envelope([line()]), batches("a")))
    while (await outbox.counts()).waiting_batches < 1:
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    may_go.set()
    await putting
    assert customer.posts == []
    assert [each.batch.id for each in await outbox.claim(count_max=10, claim_seconds=1)] == ["a"]


async def test_a_put_that_fails_frees_its_room(
    running: asyncio.Task[None], lanes: Lanes, outbox: StumblingOutbox
) -> None:
    """Whatever it met; else memory would seem full one day."""
    await outbox.put(envelope([line("click")]), [])
    with pytest.raises(IdConflictError):
        await lanes.put(envelope([line("open")]), batches("a"))
    assert lanes._fresh_bytes == 0


async def test_others_batches_and_retries_are_found_by_looking(
    running: asyncio.Task[None], lanes: Lanes, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """Without a word, within a second of being due."""
    customer.answers.append(Answer(500, "500"))
    await put(outbox, "a")
    clock.advance(POLL_SECONDS)
    await customer.posted(1)
    for _ in range(7):  # the first retry is due after some five seconds
        await at_rest(lanes, clock)
        clock.advance(POLL_SECONDS)
    await customer.posted(2)
    await delivered(outbox, 1)


async def test_no_more_in_flight_than_allowed(
    running: asyncio.Task[None], lanes: Lanes, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """Nothing is claimed that is not tried at once; as attempts end, the rest follows without a poll."""
    customer.hanging.add(GOOD)
    await put(outbox, "first")
    lanes.wake()
    await customer.posted(1)
    await put(outbox, *(f"{n:02}" for n in range(19)))
    lanes.wake()
    await customer.posted(3)
    assert len(await outbox.claim(count_max=100, claim_seconds=0)) == 17
    customer.hanging.clear()
    customer.released.set()
    began = clock.monotonic()
    while (await outbox.counts()).delivered_batches < 20:
        await at_rest(lanes, clock)
        clock.advance(GATHER_SECONDS)
    assert clock.monotonic() - began < POLL_SECONDS
    assert customer.in_flight_max == 3
    assert len({post.batch_id for post in customer.posts}) == len(customer.posts) == 20
    assert outbox.claims <= 20


async def test_a_hanging_customer_holds_only_its_slots(
    running: asyncio.Task[None], lanes: Lanes, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """While one hangs, the batches of others go through the slots that are left."""
    customer.hanging.add(BAD)
    await put(outbox, "bad", target=BAD)
    await put(outbox, *(f"{n:02}" for n in range(10)))
    lanes.wake()
    while (await outbox.counts()).delivered_batches < 10:
        await at_rest(lanes, clock, hanging=1)
        clock.advance(GATHER_SECONDS)
    assert customer.in_flight == 1


async def test_a_word_during_a_look_is_not_lost(
    running: asyncio.Task[None], lanes: Lanes, outbox: StumblingOutbox, customer: CustomerPoster
) -> None:
    """Put and woken while a claim is under way that cannot see it: the next look comes at once."""
    outbox.may_answer.clear()
    made = outbox.claims_made
    lanes.wake()
    while outbox.claims_made == made:
        await asyncio.sleep(0)
    await put(outbox, "a")
    lanes.wake()
    outbox.may_answer.set()
    await delivered(outbox, 1)


async def test_an_outbox_that_is_away_is_waited_for(
    running: asyncio.Task[None], lanes: Lanes, outbox: StumblingOutbox, clock: ManualClock
) -> None:
    """With growing pauses and one line in the log; then delivery goes on by itself."""
    await put(outbox, "a")
    outbox.claim_failures = 4
    claims = outbox.claims
    with capture_logs() as logs:
        lanes.wake()
        while outbox.claims < claims + 5:
            await someone_sleeps(clock)
            clock.advance(0.5)
        await delivered(outbox, 1)
    assert [each["event"] for each in logs] == ["webhook_delivery_waiting"]


async def test_a_paused_webhooks_batches_wait(
    running: asyncio.Task[None],
    lanes: Lanes,
    outbox: StumblingOutbox,
    webhooks: DatabaseWebhooks,
    customer: CustomerPoster,
    clock: ManualClock,
) -> None:
    """They are in nobody's way, and go when it is active again, their attempts uncounted."""
    hook = Webhook(BAD, "", BAD, TYPES)
    await webhooks.put(Webhook(BAD, "", BAD, TYPES, active=False))
    clock.advance(POLL_SECONDS)
    await put(outbox, *(f"{n:02}" for n in range(10)), target=BAD)
    await put(outbox, "good")
    lanes.wake()
    await delivered(outbox, 1)
    assert [post.batch_id for post in customer.posts] == ["good"]
    assert len(await outbox.claim(count_max=100, claim_seconds=0)) == 10
    await webhooks.put(hook)
    while (await outbox.counts()).delivered_batches < 11:
        await at_rest(lanes, clock)
        clock.advance(POLL_SECONDS)
    assert len(customer.posts) == 11


async def test_an_error_of_ours_holds_up_one_batch_only(
    running: asyncio.Task[None], lanes: Lanes, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """It is logged whole, the others go on, and the batch comes again when its claim has lapsed."""
    customer.error = RuntimeError("a fault of ours")
    await put(outbox, "a", "b")
    with capture_logs() as logs:
        lanes.wake()
        await delivered(outbox, 1)
    assert [(each["event"], each["exc_info"]) for each in logs] == [("service_failed", True)]
    assert not running.done()
    await at_rest(lanes, clock)
    clock.advance(CLAIM_SECONDS)
    await delivered(outbox, 2)


async def test_a_stop_lets_attempts_end(
    running: asyncio.Task[None], lanes: Lanes, outbox: StumblingOutbox, customer: CustomerPoster
) -> None:
    """An attempt that is answered in time is recorded, so that the next start does not repeat it."""
    customer.hanging.add(GOOD)
    await put(outbox, "a")
    lanes.wake()
    await customer.posted(1)
    running.cancel()
    await asyncio.sleep(0)
    customer.released.set()
    await asyncio.wait([running])
    assert (await outbox.counts()).delivered_batches == 1


async def test_a_stop_waits_for_nobody_long(
    running: asyncio.Task[None], lanes: Lanes, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """An attempt that hangs is cut off, and the batch comes again, same id, after its claim."""
    customer.hanging.add(GOOD)
    await put(outbox, "a")
    lanes.wake()
    await customer.posted(1)
    running.cancel()
    for _ in range(3):  # until the wait for the next look has gone
        await asyncio.sleep(0)
    await someone_sleeps(clock)
    clock.advance(STOP_SECONDS)
    await asyncio.wait([running])
    assert customer.in_flight == 0
    assert await outbox.claim(count_max=10, claim_seconds=1) == []
    clock.advance(CLAIM_SECONDS)
    [due] = await outbox.claim(count_max=10, claim_seconds=1)
    assert (due.batch.id, due.attempts) == ("a", 0)
