"""webhook_delivery: how it goes, every attempt, pause and resume, try again, ping; for whoever may see the webhook."""

from typing import Any

import pytest
from tests.api.customer import Customer
from tests.api.server import Api
from tests.api.test_webhooks import LIST, STRANGE, create
from tests.builders import envelope, line
from tests.outboxes import batch, delivered, given_up, retry

from omni_etl.backends.database import DatabaseDeliveries, DatabaseOutbox
from omni_etl.outbox import Cut, DueBatch

ROUTES = [
    ("GET", "/delivery"),
    ("PUT", "/delivery"),
    ("POST", "/pause"),
    ("POST", "/resume"),
    ("POST", "/retry"),
    ("GET", "/attempts"),
    ("POST", "/ping"),
]


@pytest.fixture
async def path(api: Api, customer: Customer) -> str:
    """A webhook's."""
    return await create(api, customer)


def outbox_of(api: Api) -> DatabaseOutbox:
    """Where its batches lie: over the API's own connections."""
    deliveries = api.parts.deliveries
    assert isinstance(deliveries, DatabaseDeliveries)
    return DatabaseOutbox(deliveries._database, api.clock)


async def put(api: Api, path: str, *names: str, event_count: int = 3) -> list[DueBatch]:
    """Batches of it, claimed."""
    webhook_id = path.rpartition("/")[2]
    outbox = outbox_of(api)
    batches = [batch(each, webhook_id, event_count=event_count) for each in names]
    seq = int("".join(names), 36)
    return await outbox.put(envelope([line()], seq=seq), Cut(batches), eager=[webhook_id], claim_seconds=30) or []


async def read(api: Api, path: str) -> dict[str, Any]:
    """How delivery goes."""
    answer = await api.call("GET", f"{path}/delivery")
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.body["results"]
    return found


async def test_delivery_of_a_new_webhook(api: Api, path: str) -> None:
    """Nothing waits, nothing failed."""
    told = await read(api, path)
    assert told["state"] == "delivering"
    assert told["waiting"] == {"batches": 0, "events": 0, "bytes": 0, "oldest": None, "oldest_seconds": None}
    assert (told["retry_schedule"], told["batch_events_max"]) == ("standard", 100)


async def test_delivery_tells_what_became_of_batches(api: Api, path: str) -> None:
    """What waits and for how long, what was delivered and given up, failures, and when it would be stopped."""
    one, two, three, _four = await put(api, path, "1", "2", "3", "4")
    outbox = outbox_of(api)
    await outbox.settle(one, delivered())
    await outbox.settle(two, retry(60, "503"))
    await outbox.settle(three, given_up("400"))
    api.clock.advance(90)
    told = await read(api, path)
    assert told["state"] == "failing"
    assert (told["waiting"]["batches"], told["waiting"]["events"], told["waiting"]["oldest_seconds"]) == (2, 6, 90)
    assert told["waiting"]["bytes"] > 0
    assert told["delivered"] == told["given_up"] == {"batches": 1, "events": 3}
    assert told["failures_in_a_row"] == 2
    assert told["failing_since"] < told["stops_at"]


async def test_attempts_are_listed_newest_first(api: Api, path: str) -> None:
    """With answer and next time; of one batch, of so many, of before a time."""
    one, two = await put(api, path, "1", "2")
    outbox = outbox_of(api)
    await outbox.settle(one, retry(60, "503", latency_ms=12))
    api.clock.advance(1)
    await outbox.settle(two, retry(60, "connect: refused"))
    notes = (await api.call("GET", f"{path}/attempts")).body["results"]
    assert [each["batch_id"] for each in notes] == ["2", "1"]
    assert [each["response_code"] for each in notes] == [None, "503"]
    assert [each["failure_code"] for each in notes] == ["ECONNREFUSED", None]
    assert (notes[1]["attempt"], notes[1]["latency"], notes[1]["outcome"]) == (1, 12, "retry")
    assert notes[1]["next_attempt"] > notes[1]["ts"]
    of_one = (await api.call("GET", f"{path}/attempts?batch_id=1")).body["results"]
    assert [each["batch_id"] for each in of_one] == ["1"]
    earlier = (await api.call("GET", f"{path}/attempts?before={notes[0]['ts']}")).body["results"]
    assert [each["batch_id"] for each in earlier] == ["1"]
    assert len((await api.call("GET", f"{path}/attempts?limit=1")).body["results"]) == 1
    assert (await api.call("GET", f"{path}/attempts?limit=0")).status == 400


async def test_a_pause_is_shown_and_ended(api: Api, path: str) -> None:
    """Batches that wait stay where they are."""
    await put(api, path, "1")
    paused = await api.call("POST", f"{path}/pause")
    assert (paused.status, paused.body["results"]["state"]) == (200, "paused")
    assert paused.body["results"]["waiting"]["batches"] == 1
    resumed = await api.call("POST", f"{path}/resume")
    assert (resumed.status, resumed.body["results"]["state"]) == (200, "delivering")


async def test_a_stopped_webhook_tells_why(api: Api, path: str) -> None:
    """Until it is resumed; its failures are forgotten then."""
    [one] = await put(api, path, "1")
    await outbox_of(api).settle(one, given_up("410", stop_reason="the customer answered 410 Gone"))
    told = await read(api, path)
    assert (told["state"], told["stopped_reason"]) == ("stopped", "the customer answered 410 Gone")
    assert told["stops_at"] is None
    resumed = (await api.call("POST", f"{path}/resume")).body["results"]
    assert (resumed["state"], resumed["failures_in_a_row"], resumed["stopped_at"]) == ("delivering", 0, None)


async def test_what_was_given_up_is_tried_again(api: Api, path: str) -> None:
    """And what waits for its time is tried now; a second time there is nothing."""
    one, two = await put(api, path, "1", "2")
    outbox = outbox_of(api)
    await outbox.settle(one, given_up("500"))
    await outbox.settle(two, retry(3_600, "500"))
    assert (await api.call("POST", f"{path}/retry")).body == {"results": {"batches": 2}}
    assert (await api.call("POST", f"{path}/retry")).body == {"results": {"batches": 0}}
    told = await read(api, path)
    assert (told["waiting"]["batches"], told["given_up"]["batches"]) == (2, 0)


async def test_how_batches_are_cut_and_repeated_is_the_customers_wish(api: Api, path: str) -> None:
    """Each by itself; nothing that the deliverer does not know."""
    answer = await api.call("PUT", f"{path}/delivery", body={"retry_schedule": "sparkpost"})
    assert (answer.body["results"]["retry_schedule"], answer.body["results"]["batch_events_max"]) == ("sparkpost", 100)
    answer = await api.call("PUT", f"{path}/delivery", body={"batch_events_max": 10})
    assert (answer.body["results"]["retry_schedule"], answer.body["results"]["batch_events_max"]) == ("sparkpost", 10)
    for wrong in ({"retry_schedule": "never"}, {"batch_events_max": 9}, {"batch_events_max": 10_001}, {"other": 1}):
        assert (await api.call("PUT", f"{path}/delivery", body=wrong)).status == 400
    assert (await read(api, path))["batch_events_max"] == 10


async def test_a_ping_is_a_batch_of_samples(api: Api, customer: Customer, path: str) -> None:
    """One of each type that the webhook wants; what the customer says is shown."""
    answer = await api.call("POST", f"{path}/ping")
    assert answer.status == 200
    assert (answer.body["results"]["events"], answer.body["results"]["response"]["status"]) == (2, 200)
    last = customer.posts[-1].body
    assert '"type":"bounce"' in last
    assert '"type":"delivery"' in last


@pytest.mark.parametrize(("method", "route"), ROUTES)
async def test_strangers_are_not_found(api: Api, customer: Customer, method: str, route: str) -> None:
    """Neither one that is not there, nor another subaccount's."""
    another = await create(api, customer, header="7")
    body: dict[str, Any] | None = {} if method == "PUT" else None
    assert (await api.call(method, STRANGE + route, body=body)).status == 404
    hidden = await api.call(method, another + route, body=body, headers={"X-MSYS-SUBACCOUNT": "8"})
    assert hidden.status == 404
    assert LIST in another


@pytest.mark.parametrize(("method", "route"), ROUTES)
async def test_a_key_needs_the_grant(api: Api, path: str, method: str, route: str) -> None:
    """To look, or to change."""
    weak = await api.parts.keys.create("weak", grants=["metrics/view"])
    body: dict[str, Any] | None = {} if method == "PUT" else None
    assert (await api.call(method, path + route, body=body, headers={"Authorization": weak})).status == 403
    viewer = await api.parts.keys.create("viewer", grants=["webhooks/view"])
    allowed = await api.call(method, path + route, body=body, headers={"Authorization": viewer})
    assert allowed.status == (200 if method == "GET" else 403)
