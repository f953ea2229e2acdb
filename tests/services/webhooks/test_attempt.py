"""services.webhooks.attempt: one try, and what is written down of it."""

import asyncio
import math
import random
from dataclasses import replace

import pytest
from tests.builders import envelope, line
from tests.services.webhooks.fakes import CustomerPoster, StumblingOutbox, let_pass

from omni_etl.backends.database import DatabaseDeliveries, DatabaseWebhooks
from omni_etl.clock import ManualClock
from omni_etl.event import TYPES
from omni_etl.outbox import Batch, DueBatch
from omni_etl.poster import Answer
from omni_etl.services.webhooks.attempt import (
    ATTEMPTS_MAX,
    RETRY_AFTER_SECONDS_MAX,
    Attempts,
    headers_of,
    retry_wait_seconds,
)
from omni_etl.services.webhooks.subscriptions import Subscriptions
from omni_etl.webhook import TokenRequest, Webhook

BATCH = Batch("b1", "w", "https://x.test/hook", {"X-One": "1"}, b'[{"msys":{}}]', event_count=7)
HOOK = Webhook("w", "w", "https://elsewhere.test/", TYPES, auth_header="Basic old")


@pytest.fixture
def attempts(
    webhooks: DatabaseWebhooks, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> Attempts:
    """The subject, on the real database."""
    subscriptions = Subscriptions(webhooks, clock)
    return Attempts(subscriptions=subscriptions, outbox=outbox, poster=customer, clock=clock, rng=random.Random(1))


async def claimed(outbox: StumblingOutbox) -> DueBatch:
    """The one batch, claimed; put if it was not there yet."""
    await outbox.put(envelope([line()]), [BATCH])
    [due] = await outbox.claim(count_max=10, claim_seconds=30)
    return due


async def test_a_delivered_batch_leaves(attempts: Attempts, outbox: StumblingOutbox, customer: CustomerPoster) -> None:
    """To the target of its cut, with SparkPost's headers; then only the counters know it."""
    await attempts.make(await claimed(outbox), begin_by=math.inf, until=math.inf)
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


async def test_what_waited_too_long_for_the_database_is_not_sent(
    attempts: Attempts, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """The claim may end before the customer answers, and someone else may have delivered it: it is left to lapse."""
    due = await claimed(outbox)
    await attempts.make(due, begin_by=clock.monotonic(), until=clock.monotonic() + 10)
    assert customer.posts == []
    clock.advance(31)
    assert len(await outbox.claim(count_max=10, claim_seconds=30)) == 1


async def test_a_failed_batch_comes_again_until_it_is_given_up(
    attempts: Attempts, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """Twelve attempts within eight hours, each with the same id and bytes; then it is given up and counted."""
    customer.answers.extend([Answer(500, "500"), Answer(None, "timeout after 10 s"), Answer(302, "302")] * 4)
    began = clock.now()
    for _ in range(ATTEMPTS_MAX):
        due = await claimed(outbox)
        await attempts.make(due, begin_by=math.inf, until=math.inf)
        wait = retry_wait_seconds(due.attempts + 1, None, random.Random(0))
        clock.advance(10.0 + (wait or 0) * 1.2)
    assert len(customer.posts) == ATTEMPTS_MAX == 12
    assert len({(post.batch_id, post.body) for post in customer.posts}) == 1
    assert (await outbox.counts()).given_up_events == 7
    clock.advance(86_400)
    assert await outbox.claim(count_max=10, claim_seconds=30) == []
    assert clock.now() > began


def test_the_schedule_fits_sparkposts_window() -> None:
    """Eleven growing waits, jittered, that with twelve attempts of ten seconds stay within 8 hours."""
    for seed in range(50):
        rng = random.Random(seed)
        waits = [retry_wait_seconds(attempts, None, rng) for attempts in range(1, 13)]
        assert waits.pop() is None
        known = [wait for wait in waits if wait is not None]
        assert len(known) == 11
        assert sum(known) + 12 * 10 < 8 * 3600
        assert known[0] < 6
    assert len({retry_wait_seconds(3, None, random.Random(seed)) for seed in range(50)}) == 50


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [(None, 4.7, 5.3), (0.0, 4.7, 5.3), (60.0, 60.0, 60.0), (1e9, RETRY_AFTER_SECONDS_MAX, RETRY_AFTER_SECONDS_MAX)],
)
def test_retry_after_may_postpone_within_bounds(retry_after: float | None, least: float, most: float) -> None:
    """More time than the table gives, an hour at most; never less time, and never one more attempt."""
    wait = retry_wait_seconds(1, retry_after, random.Random(0))
    assert wait is not None
    assert least <= wait <= most
    assert retry_wait_seconds(ATTEMPTS_MAX, retry_after, random.Random(0)) is None


async def test_the_secret_is_read_at_the_attempt(
    attempts: Attempts,
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
        clock.advance(100)
        await attempts.make(await claimed(outbox), begin_by=math.inf, until=math.inf)
    assert [post.headers.get("Authorization") for post in customer.posts] == ["Basic old", "Basic new", None]
    assert {post.target for post in customer.posts} == {BATCH.target}
    assert (await outbox.counts()).delivered_batches == 1


async def test_a_paused_webhooks_batch_is_not_tried(
    attempts: Attempts,
    outbox: StumblingOutbox,
    customer: CustomerPoster,
    webhooks: DatabaseWebhooks,
    clock: ManualClock,
) -> None:
    """Paused between claim and attempt: nothing is sent, no attempt is counted, and it waits."""
    await webhooks.put(Webhook("w", "w", HOOK.target, TYPES, active=False))
    await attempts.make(await claimed(outbox), begin_by=math.inf, until=math.inf)
    assert customer.posts == []
    clock.advance(31)
    assert (await claimed(outbox)).attempts == 0


@pytest.mark.parametrize("loses_answers", [False, True])
async def test_an_outbox_that_stumbles_is_told_again(
    attempts: Attempts, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock, *, loses_answers: bool
) -> None:
    """The customer has it: the outbox hears so again and again, whether the first word got through or not."""
    outbox.verdict_failures, outbox.loses_answers = 3, loses_answers
    due = await claimed(outbox)
    making = asyncio.ensure_future(attempts.make(due, begin_by=math.inf, until=clock.monotonic() + 30))
    await let_pass(clock, making)
    assert (len(customer.posts), outbox.verdicts) == (1, 4)
    assert (await outbox.counts()).delivered_batches == 1


async def test_an_outbox_that_stays_away_gets_the_batch_back(
    attempts: Attempts, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """Beyond its claim nobody insists: the batch goes out again, with the same id and bytes, for we cannot know."""
    outbox.verdict_failures = 10_000
    making = asyncio.ensure_future(
        attempts.make(await claimed(outbox), begin_by=math.inf, until=clock.monotonic() + 30)
    )
    await let_pass(clock, making)
    outbox.verdict_failures = 0
    clock.advance(30)
    await attempts.make(await claimed(outbox), begin_by=math.inf, until=math.inf)
    assert customer.posts[0] == customer.posts[1]
    assert (await outbox.counts()).delivered_batches == 1


async def test_a_refused_token_is_renewed_for_the_next_attempt(
    attempts: Attempts,
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
        await attempts.make(await claimed(outbox), begin_by=math.inf, until=math.inf)
        clock.advance(200)
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
    making = asyncio.ensure_future(attempts.make(due, begin_by=began + 20, until=began + 30))
    await customer.posted(1)
    clock.advance(20)
    customer.released.set()
    await making
    assert [each.target for each in customer.posts] == [request.url]


async def test_how_long_an_attempt_took_is_written_down(
    attempts: Attempts, outbox: StumblingOutbox, customer: CustomerPoster, clock: ManualClock
) -> None:
    """The attempt alone, failed or not."""
    customer.hanging.add(BATCH.target)
    customer.answers.append(Answer(503, "503"))
    making = asyncio.ensure_future(attempts.make(await claimed(outbox), begin_by=math.inf, until=math.inf))
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
    assert headers_of(batch, HOOK) == {**token, **ours, "Authorization": "Basic old"}
    assert headers_of(batch, None) == {**token, **ours, "authorization": "mine"}
    own = {"X-MessageSystems-Webhook-Token": "ours"}
    assert headers_of(batch, replace(HOOK, auth_token="ours")) == {**own, **ours, "Authorization": "Basic old"}
