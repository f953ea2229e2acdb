"""services.webhooks.attempt: one try, and what is written down of it."""

import asyncio
import math
import random
from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from tests.builders import envelope, line
from tests.services.webhooks.fakes import CustomerPoster, StumblingOutbox, let_pass

from omni_etl.backends.database import DatabaseDeliveries, DatabaseWebhooks
from omni_etl.clock import ManualClock
from omni_etl.event import TYPES
from omni_etl.outbox import FAILURES_OPEN, Batch, Cut, DueBatch, Wanted
from omni_etl.poster import Answer
from omni_etl.services.webhooks.attempt import NOTICES_MS, Attempts, headers_of
from omni_etl.services.webhooks.lane import WebhookLane
from omni_etl.services.webhooks.subscriptions import Subscriptions
from omni_etl.services.webhooks.verdict import SCHEDULES
from omni_etl.webhook import RetrySchedule, TokenRequest, Webhook

BATCH = Batch("b1", "w", "https://x.test/hook", {"X-One": "1"}, b'[{"msys":{}}]', event_count=7)
HOOK = Webhook("w", "w", "https://elsewhere.test/", TYPES, auth_header="Basic old")


@pytest.fixture
def attempts(
    webhooks: DatabaseWebhooks, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> Attempts:
    """The subject, on the real database."""
    subscriptions = Subscriptions(webhooks, clock)
    return Attempts(subscriptions=subscriptions, outbox=outbox, poster=customer, clock=clock, rng=random.Random(1))


@pytest.fixture
def lane() -> WebhookLane:
    """Of a webhook that never failed."""
    return WebhookLane("w", 32, 10.0)


async def claimed(outbox: StumblingOutbox, *, is_probe: bool = False) -> DueBatch:
    """The one batch, claimed; put if it was not there yet."""
    await outbox.put(envelope([line()]), Cut([BATCH]))
    [due] = await outbox.claim({"w": Wanted(fresh=1, retries=1, is_probe=is_probe)}, claim_seconds=30)
    return due


async def is_claimable(outbox: StumblingOutbox) -> bool:
    """Whether the one batch is due."""
    return bool(await outbox.claim({"w": Wanted(fresh=9, retries=9)}, claim_seconds=30))


async def test_a_delivered_batch_leaves(
    attempts: Attempts, lane: WebhookLane, outbox: StumblingOutbox, customer: CustomerPoster
) -> None:
    """To the target of its cut, with SparkPost's headers; then only the counters know it."""
    await attempts.make(await claimed(outbox), lane, begin_by=math.inf, until=math.inf)
    [post] = customer.posts
    assert (post.target, post.body) == (BATCH.target, BATCH.body)
    assert post.headers == {
        "X-One": "1",
        "Content-Type": "application/json",
        "User-Agent": "SparkPost",
        "X-MessageSystems-Batch-ID": "b1",
    }
    counts = await outbox.counts()
    assert (counts.waiting_batches, counts.delivered_batches, counts.delivered_events) == (0, 1, 7)


async def test_an_echo_puts_no_secret_into_the_log_of_attempts(
    attempts: Attempts,
    lane: WebhookLane,
    outbox: StumblingOutbox,
    customer: CustomerPoster,
    webhooks: DatabaseWebhooks,
    clock: ManualClock,
) -> None:
    """Who may look at attempts may not look at secrets; what the server says besides is kept."""
    await webhooks.put(replace(HOOK, auth_token="hush-token", auth_header="Bearer hush-bearer"))
    customer.answers.append(Answer(401, "401", body=b"no: Bearer hush-bearer, hush-token"))
    await attempts.make(await claimed(outbox), lane, begin_by=math.inf, until=math.inf)
    [note] = await DatabaseDeliveries(outbox.watched, clock).attempts("w", count_max=9)
    assert (note.answer, note.excerpt) == ("401", "no: ***, ***")


async def test_what_waited_too_long_for_the_database_is_not_sent(
    attempts: Attempts, lane: WebhookLane, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """The claim may end before the customer answers, and someone else may have delivered it: it is left to lapse."""
    due = await claimed(outbox)
    await attempts.make(due, lane, begin_by=clock.monotonic(), until=clock.monotonic() + 10)
    assert customer.posts == []
    clock.advance(31)
    assert await is_claimable(outbox)


@pytest.mark.parametrize(("schedule", "most"), [("standard", 10), ("sparkpost", 12)])
async def test_a_failed_batch_comes_again_until_it_is_given_up(
    attempts: Attempts,
    outbox: StumblingOutbox,
    customer: CustomerPoster,
    webhooks: DatabaseWebhooks,
    clock: ManualClock,
    schedule: RetrySchedule,
    most: int,
) -> None:
    """As often as its webhook's schedule says, each with the same id and bytes; then it is given up and counted."""
    await webhooks.put(replace(HOOK, retry_schedule=schedule))
    customer.answers.extend([Answer(500, "500"), Answer(None, "timeout after 10 s"), Answer(302, "302")] * 4)
    for wait in (*SCHEDULES[schedule], 0):
        lane = WebhookLane("w", 32, 10.0)  # others of its webhook go through
        await attempts.make(await claimed(outbox), lane, begin_by=math.inf, until=math.inf)
        clock.advance(wait * 0.94)
        assert not await is_claimable(outbox) or not wait
        clock.advance(wait * 0.12 + 31)
    assert len(customer.posts) == most
    assert len({(post.batch_id, post.body) for post in customer.posts}) == 1
    assert (await outbox.counts()).given_up_events == 7
    clock.advance(86_400)
    assert not await is_claimable(outbox)


async def test_a_batch_that_is_refused_is_two_from_then_on(
    attempts: Attempts, lane: WebhookLane, outbox: StumblingOutbox, customer: CustomerPoster
) -> None:
    """Both due at once, under ids of their own that name the first."""
    customer.answers.append(Answer(413, "413"))
    two = replace(BATCH, body=b"[1,2]", event_count=2)
    await outbox.put(envelope([line()]), Cut([two]))
    await attempts.make(await claimed(outbox), lane, begin_by=math.inf, until=math.inf)
    halves = await outbox.claim({"w": Wanted(fresh=9)}, claim_seconds=30)
    assert sorted(each.batch.body for each in halves) == [b"[1]", b"[2]"]
    assert {each.batch.parent_id for each in halves} == {"b1"}


async def test_the_lane_hears_before_the_outbox_does(
    attempts: Attempts, lane: WebhookLane, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """While the answer is written down, nobody begins what it forbids."""
    customer.answers.append(Answer(429, "429", retry_after_seconds=60.0))
    outbox.verdict_failures = 1
    making = asyncio.ensure_future(attempts.make(await claimed(outbox), lane, begin_by=math.inf, until=math.inf))
    while not outbox.verdicts:
        await asyncio.sleep(0)
    assert lane.slots((clock.now() + 59) * 1000) == 0
    assert lane.slots((clock.now() + 61) * 1000) == 1
    await let_pass(clock, making)


async def test_a_stop_is_heard_before_the_outbox_does_and_said(
    attempts: Attempts, lane: WebhookLane, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """410 is the customer's last word: one line at ERROR, for somebody has to say go."""
    customer.answers.append(Answer(410, "410"))
    outbox.verdict_failures = 1
    with capture_logs() as logs:
        making = asyncio.ensure_future(attempts.make(await claimed(outbox), lane, begin_by=math.inf, until=math.inf))
        while not outbox.verdicts:
            await asyncio.sleep(0)
        assert lane.is_stopped
        await let_pass(clock, making)
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["webhook_stopped"]


async def test_a_probe_that_fails_uses_up_no_attempt_and_one_that_goes_through_ends_the_pause(
    attempts: Attempts, lane: WebhookLane, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """Here and in the outbox."""
    lane.failures = FAILURES_OPEN
    customer.answers.append(Answer(500, "500"))
    await attempts.make(await claimed(outbox, is_probe=True), lane, begin_by=math.inf, until=math.inf)
    assert lane.slots((clock.now() + 29) * 1000) == 0
    clock.advance(1)
    again = await claimed(outbox, is_probe=True)
    assert again.attempts == 0
    await attempts.make(again, lane, begin_by=math.inf, until=math.inf)
    assert (lane.is_open, lane.slots(clock.now() * 1000)) == (False, 2)


async def test_a_webhook_that_fails_for_long_is_said_three_times(
    attempts: Attempts, lane: WebhookLane, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """After an hour, a day and three days; not for each attempt."""
    customer.answers.extend([Answer(500, "500")] * 8)
    lane.failures, lane.failing_since_ms = FAILURES_OPEN, int(clock.now() * 1000)
    waits = [60, 3_600, 60, 80_000, 10_000, 10_000, 200_000, 9_000]
    with capture_logs() as logs:
        for seconds in waits:
            clock.advance(seconds)
            await attempts.make(await claimed(outbox, is_probe=True), lane, begin_by=math.inf, until=math.inf)
    assert [each["hours"] for each in logs if each["event"] == "webhook_failing"] == [1, 26, 84]
    assert len(NOTICES_MS) == 3


async def test_the_secret_is_read_at_the_attempt(
    attempts: Attempts,
    lane: WebhookLane,
    outbox: StumblingOutbox,
    customer: CustomerPoster,
    webhooks: DatabaseWebhooks,
    clock: ManualClock,
) -> None:
    """A batch cut before the secret was changed goes out with the new one, to its old target; deleted, without."""
    customer.answers.extend([Answer(401, "401")] * 2)
    for secret in ("Basic old", "Basic new", None):
        if secret is None:
            await webhooks.delete("w")
        else:
            await webhooks.put(Webhook("w", "w", HOOK.target, TYPES, auth_header=secret))
        clock.advance(400)
        await attempts.make(await claimed(outbox), lane, begin_by=math.inf, until=math.inf)
    assert [post.headers.get("Authorization") for post in customer.posts] == ["Basic old", "Basic new", None]
    assert {post.target for post in customer.posts} == {BATCH.target}
    assert (await outbox.counts()).delivered_batches == 1


async def test_a_paused_webhooks_batch_is_not_tried(
    attempts: Attempts,
    lane: WebhookLane,
    outbox: StumblingOutbox,
    customer: CustomerPoster,
    webhooks: DatabaseWebhooks,
    clock: ManualClock,
) -> None:
    """Paused between claim and attempt: nothing is sent, no attempt is counted, and it waits."""
    await webhooks.put(Webhook("w", "w", HOOK.target, TYPES, active=False))
    await attempts.make(await claimed(outbox), lane, begin_by=math.inf, until=math.inf)
    assert customer.posts == []
    clock.advance(31)
    assert (await claimed(outbox)).attempts == 0


@pytest.mark.parametrize("loses_answers", [False, True])
async def test_an_outbox_that_stumbles_is_told_again(
    attempts: Attempts,
    lane: WebhookLane,
    outbox: StumblingOutbox,
    customer: CustomerPoster,
    clock: ManualClock,
    *,
    loses_answers: bool,
) -> None:
    """The customer has it: the outbox hears so again and again, whether the first word got through or not."""
    outbox.verdict_failures, outbox.loses_answers = 3, loses_answers
    due = await claimed(outbox)
    making = asyncio.ensure_future(attempts.make(due, lane, begin_by=math.inf, until=clock.monotonic() + 30))
    await let_pass(clock, making)
    assert (len(customer.posts), outbox.verdicts) == (1, 4)
    assert (await outbox.counts()).delivered_batches == 1


async def test_an_outbox_that_stays_away_gets_the_batch_back(
    attempts: Attempts, lane: WebhookLane, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """Beyond its claim nobody insists: the batch goes out again, with the same id and bytes, for we cannot know."""
    outbox.verdict_failures = 10_000
    making = asyncio.ensure_future(
        attempts.make(await claimed(outbox), lane, begin_by=math.inf, until=clock.monotonic() + 30)
    )
    await let_pass(clock, making)
    outbox.verdict_failures = 0
    clock.advance(30)
    await attempts.make(await claimed(outbox), lane, begin_by=math.inf, until=math.inf)
    assert customer.posts[0] == customer.posts[1]
    assert (await outbox.counts()).delivered_batches == 1


async def test_a_refused_token_is_renewed_for_the_next_attempt(
    attempts: Attempts,
    lane: WebhookLane,
    outbox: StumblingOutbox,
    customer: CustomerPoster,
    webhooks: DatabaseWebhooks,
    clock: ManualClock,
) -> None:
    """400 and 401 are failed attempts like others, and end the token; without one nothing is sent, and it is tried again."""
    request = TokenRequest("https://token.test/", {"a": "b"})
    await webhooks.put(replace(HOOK, target=BATCH.target, auth_header="Bearer old", token_request=request))
    new = Answer(200, "200", body=b'{"access_token":"new"}')
    customer.answers.extend([Answer(401, "401"), Answer(None, "dns: no such name"), new, Answer(200, "200")])
    for _ in range(3):
        await attempts.make(await claimed(outbox), lane, begin_by=math.inf, until=math.inf)
        clock.advance(400)
    sent = [(each.target, each.headers.get("Authorization")) for each in customer.posts]
    assert sent == [
        (BATCH.target, "Bearer old"),
        (request.url, None),
        (request.url, None),
        (BATCH.target, "Bearer new"),
    ]
    deliveries = DatabaseDeliveries(outbox._database, clock)
    (trouble,) = await deliveries.troubles("w", count_max=9)
    assert (trouble.attempts, trouble.answer, trouble.is_delivered) == (2, "200", True)


async def test_a_token_that_comes_too_late_is_for_the_next_one(
    attempts: Attempts,
    lane: WebhookLane,
    outbox: StumblingOutbox,
    customer: CustomerPoster,
    webhooks: DatabaseWebhooks,
    clock: ManualClock,
) -> None:
    """To ask took so long that the claim may end during the attempt: nothing is sent, it is left to lapse."""
    request = TokenRequest("https://token.test/", {"a": "b"})
    await webhooks.put(replace(HOOK, auth_header="Bearer old", token_request=request, token_expires_at_ms=0))
    customer.answers.append(Answer(200, "200", body=b'{"access_token":"new"}'))
    customer.hanging.add(request.url)
    due, began = await claimed(outbox), clock.monotonic()
    making = asyncio.ensure_future(attempts.make(due, lane, begin_by=began + 20, until=began + 30))
    await customer.posted(1)
    clock.advance(20)
    customer.released.set()
    await making
    assert [each.target for each in customer.posts] == [request.url]


async def test_how_long_an_attempt_took_is_written_down(
    attempts: Attempts, lane: WebhookLane, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """The attempt alone, failed or not."""
    customer.hanging.add(BATCH.target)
    customer.answers.append(Answer(503, "503"))
    making = asyncio.ensure_future(attempts.make(await claimed(outbox), lane, begin_by=math.inf, until=math.inf))
    await customer.posted(1)
    clock.advance(0.16)
    customer.released.set()
    await making
    (trouble,) = await DatabaseDeliveries(outbox._database, clock).troubles("w", count_max=9)
    assert (trouble.latency_ms, trouble.event_count) == (160, 7)


def test_custom_headers_replace_none_of_ours() -> None:
    """Whatever a customer chose: no second length, no other id; the webhook's secret wins over a header of that name."""
    custom = {"content-LENGTH": "3", "Transfer-Encoding": "chunked", "x-messagesystems-batch-id": "z", "Host": "h",
              "USER-AGENT": "me", "content-type": "text/plain", "authorization": "mine", "X-MessageSystems-Webhook-Token": "t"}  # fmt: skip
    batch = Batch("b1", "w", "https://x.test/", custom, b"[]", event_count=0)
    ours = {"Content-Type": "application/json", "User-Agent": "SparkPost", "X-MessageSystems-Batch-ID": "b1"}
    token = {"X-MessageSystems-Webhook-Token": "t"}
    assert headers_of(batch, HOOK, now_ms=0) == {**token, **ours, "Authorization": "Basic old"}
    assert headers_of(batch, None, now_ms=0) == {**token, **ours, "authorization": "mine"}
    own = {"X-MessageSystems-Webhook-Token": "ours"}
    assert headers_of(batch, replace(HOOK, auth_token="ours"), now_ms=0) == {
        **own,
        **ours,
        "Authorization": "Basic old",
    }
