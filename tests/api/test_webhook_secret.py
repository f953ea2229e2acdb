"""webhook_secret: the secret is read and replaced by who may; the official package verifies before, during and after."""

import logging
import time
from typing import Any

import pytest
import structlog
from aiohttp import web
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError
from tests.api.customer import Customer, Post
from tests.api.server import Answer, Api

from omni_etl.clock import SystemClock
from omni_etl.services.webhooks.signing import key_of

LIST = "/api/v1/webhooks"
DAY_SECONDS = 86_400


async def create(api: Api, customer: Customer, **headers: str) -> str:
    """Make one; the path of its secret."""
    body = {"name": "mine", "target": customer.target, "events": ["delivery"]}
    answer = await api.call("POST", LIST, body=body, headers=headers)
    assert answer.status == 200, answer
    return f"{LIST}/{answer.body['results']['id']}/signing-secret"


async def secret_of(api: Api, path: str) -> str:
    """As it may be read."""
    answer = await api.call("GET", path)
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    secret: str = answer.body["results"]["secret"]
    return secret


async def rotated(api: Api, path: str, body: Any = None) -> Answer:
    """A new one."""
    answer = await api.call("POST", path, body=body) if body is not None else await api.call("POST", path, text="")
    assert (answer.status, answer.headers["Cache-Control"]) == (201, "no-store"), answer
    return answer


async def received(api: Api, customer: Customer, path: str) -> Post:
    """What the customer's server gets now."""
    customer.posts.clear()
    sent = [{"msys": {"message_event": {"type": "delivery", "subject": "Grüße"}}}]
    answer = await api.call("POST", path.replace("signing-secret", "validate"), body=sent)
    assert answer.status == 200, answer
    (came,) = customer.posts
    return came


def verifies(secret: str, came: Post) -> bool:
    """As a receiver does with the official package."""
    try:
        Verifier(secret).verify(came.body, came.headers)
    except WebhookVerificationError:
        return False
    return True


async def test_a_receiver_verifies_through_a_rotation(api: Api, customer: Customer) -> None:
    """Before, during and after: who changes over within the overlap refuses nothing; then the old secret is worth nothing."""
    api.clock.advance(SystemClock().now() - api.clock.now())  # the package looks at the real time
    path = await create(api, customer)
    old = await secret_of(api, path)
    came = await received(api, customer, path)
    assert came.headers["webhook-id"] == came.headers["X-MessageSystems-Batch-ID"]
    assert verifies(old, came)
    answer = await rotated(api, path, {"overlap_seconds": 60})
    new = answer.body["results"]["secret"]
    assert (new != old, await secret_of(api, path)) == (True, new)
    during = await received(api, customer, path)
    assert [verifies(each, during) for each in (old, new)] == [True, True]
    assert [verifies(each, came) for each in (old, new)] == [True, False]
    api.clock.advance(59)
    assert verifies(old, await received(api, customer, path))
    api.clock.advance(1.5)
    after = await received(api, customer, path)
    assert [verifies(each, after) for each in (old, new)] == [False, True]


async def test_an_overlap_is_a_day_unless_told(api: Api, customer: Customer) -> None:
    """Without a body, or with an empty one; when former ones end is told, and they themselves are not."""
    path = await create(api, customer)
    first = await secret_of(api, path)
    begun = api.clock.now()
    answer = await rotated(api, path)
    assert answer.body["results"]["former"] == [{"until": moment(begun + DAY_SECONDS)}]
    answer = await rotated(api, path, {})
    assert answer.body["results"]["former"] == [{"until": moment(begun + DAY_SECONDS)}] * 2
    assert first not in str(answer.body)
    assert answer.body == (await api.call("GET", path)).body
    answer = await rotated(api, path, {"overlap_seconds": 0})
    assert answer.body["results"]["former"] == []
    assert len(key_of(answer.body["results"]["secret"])) == 32


def moment(seconds: float) -> str:
    """As it is written."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


@pytest.mark.parametrize(
    "body", [{"overlap_seconds": -1}, {"overlap_seconds": 7 * DAY_SECONDS + 1}, {"overlap_seconds": "60"},
             {"overlap_seconds": 1.5}, {"overlap_seconds": None}, {"overlap": 60}, [], "x"]
)  # fmt: skip
async def test_an_overlap_that_is_none_is_refused(api: Api, customer: Customer, body: Any) -> None:
    """Nothing is rotated."""
    path = await create(api, customer)
    before = await secret_of(api, path)
    assert (await api.call("POST", path, body=body)).status == 400
    assert await secret_of(api, path) == before


async def test_a_secret_is_shown_nowhere_else(api: Api, customer: Customer) -> None:
    """SparkPost's answers stay as they are."""
    path = await create(api, customer)
    secrets = [await secret_of(api, path)]
    secrets.append((await rotated(api, path)).body["results"]["secret"])
    one = path.removesuffix("/signing-secret")
    for method, where in (
        ("GET", LIST),
        ("GET", one),
        ("PUT", one),
        ("GET", f"{one}/delivery"),
        ("POST", f"{one}/validate"),
    ):
        answer = await api.call(method, where, body={"name": "new"} if method == "PUT" else None)
        assert answer.status == 200
        assert [each for each in (*secrets, "whsec_", "signing") if each in str(answer)] == []


async def test_who_may_read_and_who_may_rotate(api: Api, customer: Customer) -> None:
    """Who may change webhooks: to read the secret is to be able to sign. A subaccount's key meets its own alone."""
    mine, theirs = await create(api, customer), await create(api, customer, **{"X-MSYS-SUBACCOUNT": "7"})
    reader = await api.parts.keys.create("reader", grants=["webhooks/view"])
    other = await api.parts.keys.create("other", grants=["events/view"])
    seven = await api.parts.keys.create("seven", subaccount_id=7)
    found = {
        (name, method, path == mine): (await api.call(method, path, headers={"Authorization": key}, text="")).status
        for name, key in (("reader", reader), ("other", other), ("seven", seven))
        for method in ("GET", "POST")
        for path in (mine, theirs)
    }
    assert found == {
        **{("reader", method, each): 403 for method in ("GET", "POST") for each in (True, False)},
        **{("other", method, each): 403 for method in ("GET", "POST") for each in (True, False)},
        ("seven", "GET", True): 404,
        ("seven", "POST", True): 404,
        ("seven", "GET", False): 200,
        ("seven", "POST", False): 201,
    }


async def test_of_what_is_gone_there_is_no_secret(api: Api, customer: Customer) -> None:
    """Deleted, or no id at all."""
    path = await create(api, customer)
    await api.call("DELETE", path.removesuffix("/signing-secret"))
    for each in (path, f"{LIST}/x/signing-secret"):
        assert [(await api.call(method, each)).status for method in ("GET", "POST")] == [404, 404]


async def test_nothing_secret_is_logged(api: Api, customer: Customer, caplog: pytest.LogCaptureFixture) -> None:
    """Neither by us nor by a library, at any level; not where the customer's server refuses, nor where we fail."""
    caplog.set_level(logging.DEBUG)
    said = {"auth_token": "hush-token", "auth_type": "basic", "auth_credentials": {"username": "a", "password": "hush"}}
    body = {"name": "mine", "target": customer.target, "events": ["delivery"], **said}
    with structlog.testing.capture_logs() as logs:
        created = await api.call("POST", LIST, body=body)
        path = f"{LIST}/{created.body['results']['id']}/signing-secret"
        secrets = [await secret_of(api, path), (await rotated(api, path)).body["results"]["secret"]]
        customer.answers.append(web.Response(status=500))
        refused = await api.call("POST", path.replace("signing-secret", "validate"))
        oauth2 = await api.call("PUT", path.removesuffix("/signing-secret"), body=customer.oauth2)
    assert (refused.status, oauth2.status) == (400, 200)
    found = repr(logs) + caplog.text + repr(refused) + repr(oauth2)
    assert [each for each in (*secrets, "hush", "secret-1", "whsec_", "YTpodXNo") if each in found] == []
