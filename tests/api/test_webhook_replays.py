"""webhook_replays: a job is begun, followed and ended, by whoever may."""

from tests.api.customer import Customer
from tests.api.server import Api
from tests.api.test_webhooks import STRANGE, create

from omni_etl.replay import EVENTS_PER_SECOND


async def test_a_replay_is_begun_read_and_cancelled(api: Api, customer: Customer) -> None:
    """It waits for the deliverer; cancelled, it is over."""
    path = await create(api, customer)
    begun = await api.call("POST", f"{path}/replays", body={"from": "2023-11-14T00:00", "to": "2023-11-14T12:00"})
    assert begun.status == 201
    job = begun.body["results"]
    assert (job["state"], job["from"], job["to"]) == (
        "waiting",
        "2023-11-14T00:00:00.000Z",
        "2023-11-14T12:00:00.000Z",
    )
    assert (job["events_per_second"], job["estimated_events"]) == (EVENTS_PER_SECOND, None)
    assert (await api.call("GET", f"{path}/replays")).body == {"results": [job]}
    one = f"{path}/replays/{job['id']}"
    assert (await api.call("GET", one)).body == {"results": job}
    assert (await api.call("DELETE", one)).status == 204
    assert (await api.call("DELETE", one)).status == 404
    assert (await api.call("GET", one)).body["results"]["state"] == "cancelled"


async def test_until_now_where_nothing_is_said(api: Api, customer: Customer) -> None:
    """The end of the range is the time of the request."""
    path = await create(api, customer)
    job = (await api.call("POST", f"{path}/replays", body={"from": "2023-11-14T00:00"})).body["results"]
    assert job["to"] == job["created"]


async def test_what_makes_no_sense_is_refused(api: Api, customer: Customer) -> None:
    """With a word about it, and nothing is begun."""
    path = await create(api, customer)
    for wrong in (
        {},
        {"from": "yesterday"},
        {"from": "2023-11-14T12:00", "to": "2023-11-14T12:00"},
        {"from": "2999-01-01T00:00"},
        {"from": "2023-11-14T00:00", "events_per_second": 0},
        {"from": "2023-11-14T00:00", "pace": 1},
        {"from": 5},
    ):
        answer = await api.call("POST", f"{path}/replays", body=wrong)
        assert answer.status == 400, wrong
        assert answer.error
    assert (await api.call("GET", f"{path}/replays")).body == {"results": []}


async def test_strangers_are_not_found(api: Api, customer: Customer) -> None:
    """Neither their webhooks nor their jobs."""
    path, other = await create(api, customer), await create(api, customer)
    body = {"from": "2023-11-14T00:00"}
    assert (await api.call("POST", f"{STRANGE}/replays", body=body)).status == 404
    job = (await api.call("POST", f"{path}/replays", body=body)).body["results"]["id"]
    for method in ("GET", "DELETE"):
        assert (await api.call(method, f"{other}/replays/{job}")).status == 404
        assert (await api.call(method, f"{path}/replays/none")).status == 404
    assert (await api.call("GET", f"{path}/replays/{job}")).body["results"]["state"] == "waiting"


async def test_a_key_needs_the_grant(api: Api, customer: Customer) -> None:
    """To look is not to send."""
    path = await create(api, customer)
    viewer = {"Authorization": await api.parts.keys.create("viewer", grants=["webhooks/view"])}
    body = {"from": "2023-11-14T00:00"}
    assert (await api.call("POST", f"{path}/replays", body=body, headers=viewer)).status == 403
    assert (await api.call("GET", f"{path}/replays", headers=viewer)).status == 200
