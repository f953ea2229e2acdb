"""services.webhooks.lanes: what is due is tried, so many at a time, whatever one customer does."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs
from tests.builders import envelope, line
from tests.services.webhooks.fakes import CustomerPoster, StumblingOutbox, at_rest, someone_sleeps

from omni_etl.backends.database import DatabaseWebhooks
from omni_etl.clock import ManualClock
from omni_etl.event import TYPES
from omni_etl.outbox import Batch
from omni_etl.poster import Answer
from omni_etl.services.webhooks.attempt import Attempts
from omni_etl.services.webhooks.lanes import (
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
