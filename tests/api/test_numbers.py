"""numbers: Prometheus text, with each webhook's backlog from the outbox's counters."""

from tests.api.customer import Customer
from tests.api.server import Api
from tests.api.test_webhook_delivery import outbox_of, put
from tests.api.test_webhooks import create
from tests.outboxes import delivered, retry

from omni_etl.errors import UnavailableError
from omni_etl.outbox import Wanted

WANTED = Wanted(retries=1)


async def test_a_backlog_is_told_while_there_is_one(api: Api, customer: Customer) -> None:
    """Events, batches, bytes, and for how long it has failed; what is delivered is told no more."""
    path = await create(api, customer)
    webhook_id = path.rpartition("/")[2]
    [one] = await put(api, path, "1")
    outbox = outbox_of(api)
    await outbox.settle(one, retry(0, "503"))
    api.clock.advance(60)
    text = (await api.call("GET", "/metrics")).body
    assert f'omni_webhook_waiting{{unit="events",webhook="{webhook_id}"}} 3.0' in text
    assert f'omni_webhook_waiting{{unit="batches",webhook="{webhook_id}"}} 1.0' in text
    assert f'omni_webhook_failing_seconds{{webhook="{webhook_id}"}} 60.0' in text
    assert f'omni_webhook_stopped{{webhook="{webhook_id}"}} 0.0' in text
    [again] = await outbox.claim({webhook_id: WANTED}, claim_seconds=30)
    await outbox.settle(again, delivered())
    assert webhook_id not in (await api.call("GET", "/metrics")).body


async def test_an_outage_leaves_the_rest(api: Api) -> None:
    """The process is watched although the database is away."""

    async def away() -> None:
        raise UnavailableError("the database is away")

    object.__setattr__(api.parts.deliveries, "waiting", away)
    answer = await api.call("GET", "/metrics")
    assert answer.status == 200
    assert "omni_hose_events_accepted" in answer.body
