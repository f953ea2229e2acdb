"""webhooks: create, list, read, change, delete, try out, what failed; for whoever may, and nothing that cannot be sent."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from tests.api.customer import Customer
from tests.api.server import Api
from tests.builders import envelope, line
from tests.outboxes import batch, claim, delivered, given_up, retry

import omni_etl.api.caller
import omni_etl.api.webhooks
from omni_etl.api.caller import Caller
from omni_etl.api.problems import Problem
from omni_etl.backends.database import DatabaseOutbox
from omni_etl.outbox import Cut
from omni_etl.webhook import SUBACCOUNTS_ALL, Webhook

LIST = "/api/v1/webhooks"
STRANGE = f"{LIST}/00000000-0000-4000-8000-000000000000"
Become = Callable[[Caller], None]


@pytest.fixture
def become(monkeypatch: pytest.MonkeyPatch) -> Become:
    """From now on every key is this caller's."""

    def set_caller(who: Caller) -> None:
        for module in (omni_etl.api.caller, omni_etl.api.webhooks):
            monkeypatch.setattr(module, "caller", lambda _request: who)

    return set_caller


def good(customer: Customer, **changed: Any) -> dict[str, Any]:
    """A body that is taken, with these members changed."""
    return {"name": "mine", "target": customer.target, "events": ["delivery", "bounce"], **changed}


async def create(api: Api, customer: Customer, *, header: str | None = None, **changed: Any) -> str:
    """Make one; its path."""
    headers = {} if header is None else {"X-MSYS-SUBACCOUNT": header}
    answer = await api.call("POST", LIST, body=good(customer, **changed), headers=headers)
    assert answer.status == 200, answer
    return f"{LIST}/{answer.body['results']['id']}"


async def read(api: Api, path: str, query: str = "") -> dict[str, Any]:
    """Its members."""
    answer = await api.call("GET", path + query)
    assert answer.status == 200, answer
    members: dict[str, Any] = answer.body["results"]
    return members


async def kept(api: Api, path: str) -> Webhook:
    """As the deliverer reads it."""
    found = await api.parts.webhooks.find(path.rpartition("/")[2])
    assert found is not None
    return found


async def test_a_webhook_is_kept_listed_read_and_deleted(api: Api, customer: Customer) -> None:
    """As SparkPost answers, links and all; afterwards it is gone."""
    created = await api.call("POST", LIST, body=good(customer))
    webhook_id = created.body["results"]["id"]
    path = f"{LIST}/{webhook_id}"
    link = {"href": path, "rel": "urn.msys.webhooks.webhook", "method": ["GET", "PUT"]}
    assert (created.status, created.body) == (200, {"results": {"id": webhook_id, "links": [link]}})
    members = {
        "id": webhook_id,
        **good(customer),
        "events": ["bounce", "delivery"],
        "active": True,
        "custom_headers": {},
        "exception_subaccounts": [],
        "auth_type": "none",
        "auth_credentials": {},
        "auth_request_details": {},
        "auth_token": "",
    }
    links = [
        {"href": f"{path}/validate", "rel": "urn.msys.webhooks.validate", "method": ["POST"]},
        {"href": f"{path}/batch-status", "rel": "urn.msys.webhooks.batches", "method": ["GET"]},
    ]
    assert await read(api, path) == members | {"links": links}
    assert (await api.call("GET", LIST)).body == {"results": [members | {"links": [link]}]}
    deleted = await api.call("DELETE", path)
    assert (deleted.status, deleted.body) == (204, "")
    assert (await api.call("GET", LIST)).body == {"results": []}


async def test_what_is_not_there_is_not_found(api: Api, customer: Customer) -> None:
    """Deleted, never made, or no id at all: on every way, in the same words."""
    gone = await create(api, customer)
    await api.call("DELETE", gone)
    for path in (gone, STRANGE, f"{LIST}/events", f"{LIST}/{gone[-36:].upper()}", f"{LIST}/%00", f"{LIST}/x%2Fy"):
        for method, more in WAYS:
            answer = await api.call(method, path + more, body={} if method == "PUT" else None)
            assert (answer.status, "could not be found" in answer.error or "Not Found" in answer.error) == (404, True)


WAYS = [("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/validate"), ("GET", "/batch-status")]


async def test_a_change_changes_what_it_says(api: Api, customer: Customer) -> None:
    """And nothing else; the answer leads to validation; the target is tested only when it is another."""
    path = await create(api, customer, custom_headers={"X-One": "1"})
    before = await kept(api, path)
    customer.posts.clear()
    answer = await api.call("PUT", path, body={"active": False, "events": ["open"], "unknown": 1})
    link = {"href": f"{path}/validate", "rel": "urn.msys.webhooks.validate", "method": ["POST"]}
    assert (answer.status, answer.body) == (200, {"results": {"id": before.id, "links": [link]}})
    after = await kept(api, path)
    assert (after.active, sorted(after.events)) == (False, ["open"])
    assert (after.name, after.target, after.custom_headers) == ("mine", customer.target, {"X-One": "1"})
    assert customer.posts == []
    assert (await api.call("PUT", path, body={"target": customer.target})).status == 200
    assert customer.posts == []
    assert (await api.call("PUT", path, body={"target": customer.target + "?new"})).status == 200
    assert [each.path for each in customer.posts] == ["/hook"]


async def test_what_was_read_may_be_sent_back(api: Api, customer: Customer) -> None:
    """Clients read, change one member and send all of it: what they were not shown is not lost."""
    basic = {"auth_type": "basic", "auth_credentials": {"username": "ann", "password": "hush"}, "auth_token": "t"}
    for members in ({}, basic, customer.oauth2, {"exception_subaccounts": [7]}):
        path = await create(api, customer, **members)
        before = await kept(api, path)
        answer = await api.call("PUT", path, body=await read(api, path))
        assert answer.status == 200, answer
        after = await kept(api, path)
        if "auth_request_details" in members:
            assert (before.auth_header, after.auth_header) == ("Bearer secret-1", "Bearer secret-2")
        assert replace(after, auth_header=before.auth_header) == before


async def test_a_webhook_that_is_deleted_meanwhile_stays_deleted(
    api: Api, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its new target is tested: the change makes it not anew."""
    path = await create(api, customer)
    post = api.parts.poster.post

    async def slow(*arguments: Any) -> Any:
        await api.parts.webhooks.delete(path.rpartition("/")[2])
        return await post(*arguments)

    monkeypatch.setattr(api.parts.poster, "post", slow)
    assert (await api.call("PUT", path, body={"target": customer.target + "?new"})).status == 404
    assert list(await api.parts.webhooks.all()) == []


async def test_changes_of_different_members_at_once_both_stand(
    api: Api, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One waits for a slow target while another pauses the webhook."""
    path = await create(api, customer)
    post = api.parts.poster.post

    async def slow(*arguments: Any) -> Any:
        assert (await api.call("PUT", path, body={"active": False})).status == 200
        return await post(*arguments)

    monkeypatch.setattr(api.parts.poster, "post", slow)
    assert (await api.call("PUT", path, body={"target": customer.target + "?new"})).status == 200
    after = await kept(api, path)
    assert (after.active, after.target) == (False, customer.target + "?new")


async def test_the_subaccount_header_says_whose_events_are_meant(api: Api, customer: Customer) -> None:
    """Without it the primary account and all subaccounts; 0 is the primary account alone."""
    cases: list[tuple[str | None, int]] = [(None, SUBACCOUNTS_ALL), ("0", 0), ("7", 7)]
    paths = []
    for header, _ in cases:
        paths.append(await create(api, customer, header=header))
        api.clock.advance(1)
    for path, (_, subaccount_id) in zip(paths, cases, strict=True):
        assert (await kept(api, path)).subaccount_id == subaccount_id
        assert (await read(api, path)).get("subaccount_id") == (7 if subaccount_id == 7 else None)
    for header, seen in [("", paths), ("0", paths[:2]), ("7", paths[2:]), ("8", [])]:
        listed = await api.call("GET", LIST, headers={"X-MSYS-SUBACCOUNT": header})
        assert [f"{LIST}/{each['id']}" for each in listed.body["results"]] == seen
    for method, more in WAYS:
        answer = await api.call(method, paths[0] + more, body={}, headers={"X-MSYS-SUBACCOUNT": "7"})
        assert answer.status == 404


async def test_only_a_change_moves_a_webhook(api: Api, customer: Customer) -> None:
    """`subaccount_id` is for PUT: N, 0 the primary account alone, -1 everyone; exceptions stay behind."""
    path = await create(api, customer, subaccount_id=9, exception_subaccounts=[3])
    assert (await kept(api, path)).subaccount_id == SUBACCOUNTS_ALL
    for subaccount_id in (9, 0, -1):
        assert (await api.call("PUT", path, body={"subaccount_id": subaccount_id})).status == 200
        after = await kept(api, path)
        assert (after.subaccount_id, after.exception_subaccounts) == (subaccount_id, frozenset())
    refused = await api.call("PUT", path, body={"subaccount_id": 0, "exception_subaccounts": [3]})
    assert (refused.status, "'exception_subaccounts'" in refused.error) == (400, True)


async def test_a_subaccounts_key_meets_its_own_webhooks_alone(api: Api, customer: Customer, become: Become) -> None:
    """Whatever it asks for: others are not found, what it makes is its own, and it can give none away."""
    foreign = [await create(api, customer, header=each) for each in (None, "0", "8")]
    become(Caller("k", 7))
    mine = await create(api, customer, header="8")
    assert (await kept(api, mine)).subaccount_id == 7
    assert [each["id"] for each in (await api.call("GET", LIST)).body["results"]] == [mine[-36:]]
    for header in ("0", "7", "8"):
        for path in foreign:
            for method, more in WAYS:
                answer = await api.call(method, path + more, body={}, headers={"X-MSYS-SUBACCOUNT": header})
                assert answer.status == 404
    assert (await api.call("PUT", mine, body={"subaccount_id": -1, "name": "new"})).status == 200
    assert ((await kept(api, mine)).subaccount_id, (await kept(api, mine)).name) == (7, "new")
    refused = await api.call("PUT", mine, body={"exception_subaccounts": [8]})
    assert refused.status == 400
    assert (await api.call("DELETE", mine)).status == 204
    assert len(await api.parts.webhooks.all()) == 3


async def test_a_key_does_what_it_was_granted(api: Api, customer: Customer, become: Become) -> None:
    """Who may look may not change, and the other way round."""
    path = await create(api, customer)
    become(Caller("k", None, frozenset({"webhooks/view"})))
    for method, where in [("POST", LIST), ("PUT", path), ("DELETE", path), ("POST", f"{path}/validate")]:
        answer = await api.call(method, where, body=good(customer))
        assert (answer.status, answer.error) == (403, "Forbidden.")
    assert (await api.call("GET", path)).status == 200
    become(Caller("k", None, frozenset({"webhooks/modify"})))
    for where in (LIST, path, f"{path}/batch-status"):
        assert (await api.call("GET", where)).status == 403
    assert (await api.call("DELETE", path)).status == 204


async def test_times_are_told_in_the_zone_that_is_asked_for(api: Api, customer: Customer) -> None:
    """Of the last success and the last failure; a zone that is none is refused."""
    path = await create(api, customer)
    assert "last_successful" not in await read(api, path)
    await attempts(api, path, ["503", "200"])
    utc = await read(api, path)
    assert (utc["last_successful"], utc["last_failure"]) == ("2023-11-14 22:15:00", "2023-11-14 22:13:20")
    there = await read(api, path, "?timezone=America/New_York")
    assert (there["last_successful"], there["last_failure"]) == ("2023-11-14 17:15:00", "2023-11-14 17:13:20")
    listed = (await api.call("GET", f"{LIST}?timezone=Asia/Kolkata")).body["results"][0]
    assert listed["last_successful"] == "2023-11-15 03:45:00"
    for name in ("Mars/Base", "../../etc/passwd", "America", "%00", "x" * 5000):
        answer = await api.call("GET", f"{LIST}?timezone={name}")
        assert (answer.status, answer.error[:8]) == (400, "timezone"), name


async def test_batches_that_failed_are_told_of_for_a_day(api: Api, customer: Customer) -> None:
    """Those that failed, those that went through later, never those that went through at once."""
    path = await create(api, customer)
    await attempts(api, path, ["200"], seq=1)
    await attempts(api, path, ["503", "timeout after 10 s", "202"], seq=2)
    await attempts(api, path, ["410"], seq=3)
    await attempts(api, path, ["refused: 10.0.0.1 is not a public address"], seq=4)
    told = (await api.call("GET", f"{path}/batch-status")).body["results"]
    common = {"webhook_id": path[-36:], "batch_size": 9, "latency": 160}
    assert told == [
        {**common, "batch_id": "b4", "ts": "2023-11-14T22:21:40.000Z", "attempts": 1, "failure_code": "EACCES"},
        {**common, "batch_id": "b3", "ts": "2023-11-14T22:20:00.000Z", "attempts": 1, "response_code": "410", "failure_code": "410"},
        {**common, "batch_id": "b2", "ts": "2023-11-14T22:18:20.000Z", "attempts": 2, "response_code": "202"},
    ]  # fmt: skip
    assert (await api.call("GET", f"{path}/batch-status?limit=1")).body["results"] == told[:1]
    for limit in ("0", "x", "1e3", "99999999999"):
        assert (await api.call("GET", f"{path}/batch-status?limit={limit}")).status == 400
    api.clock.advance(86_400)
    assert (await api.call("GET", f"{path}/batch-status")).body["results"] == []


async def attempts(api: Api, path: str, answers: list[str], *, seq: int = 2) -> None:
    """What the deliverer writes down of a batch: these answers, 100 s apart."""
    outbox = DatabaseOutbox(api.parts.deliveries._database, api.clock)  # type: ignore[attr-defined]  # the same file
    await outbox.put(envelope([line()], seq=seq), Cut([batch(f"b{seq}", path[-36:], event_count=9)]))
    for answer in answers:
        [due] = await claim(outbox, path[-36:])
        if answer.startswith("2"):
            verdict = delivered(answer, latency_ms=160)
        else:
            verdict = retry(100, answer, latency_ms=160) if len(answers) > 1 else given_up(answer, latency_ms=160)
        assert await outbox.settle(due, verdict)
        api.clock.advance(100)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ('[{"msys":{}}]', '[{"msys":{}}]'),
        ('{"message":{"msys":{}}}', '[{"msys":{}}]'),
        ('{"message":[{"msys":{"a":{"type":"b"}}},{"msys":{}}]}', '[{"msys":{"a":{"type":"b"}}},{"msys":{}}]'),
        ('[{"msys":{"a":{"ü":[1.5,null,true]}},"cust":{"id":"1"}}]', '[{"msys":{"a":{"ü":[1.5,null,true]}},"cust":{"id":"1"}}]'),
        ("[]", "[]"),
        ("{}", '[{"msys":{}}]'),
        (" ", '[{"msys":{}}]'),
        ("", '[{"msys":{}}]'),
    ],
)  # fmt: skip
async def test_a_webhook_may_be_tried_out(api: Api, customer: Customer, text: str, sent: str) -> None:
    """With a batch, the same as `message`, or nothing; the answer is shown."""
    path = await create(api, customer, custom_headers={"X-One": "1"})
    customer.answers.append(web.Response(status=202, text="thänks", headers={"X-Two": "2"}))
    answer = await api.call("POST", f"{path}/validate", text=text)
    assert answer.status == 200, answer
    results = answer.body["results"]
    assert (results["msg"], results["response"]["status"]) == ("Test POST to endpoint succeeded", 202)
    assert (results["response"]["body"], results["response"]["headers"]["x-two"]) == ("thänks", "2")
    assert (customer.posts[-1].body, customer.posts[-1].headers["X-One"]) == (sent, "1")


@pytest.mark.parametrize("text", ["{", "1", '"a"', "null", '{"message":1}', "[1]", "[{}]", '[{"msys":[]}]', "[" * 100_000,
                                  '[{"msys":{"a":NaN}}]', '[{"msys":{"a":"\\ud800"}}]', "\x00", '{"message":null}'])  # fmt: skip
async def test_what_is_no_batch_is_not_sent(api: Api, customer: Customer, text: str) -> None:
    """Receivers answer 500 to it and the customer would look for the fault there."""
    path = await create(api, customer)
    customer.posts.clear()
    assert (await api.call("POST", f"{path}/validate", text=text)).status == 400
    assert customer.posts == []


async def test_trying_out_fails_as_creating_does(api: Api, customer: Customer) -> None:
    """400 with what the target answered; nothing changes."""
    path = await create(api, customer)
    customer.answers.append(web.Response(status=404, text="where?"))
    answer = await api.call("POST", f"{path}/validate")
    (error,) = answer.body["errors"]
    assert (answer.status, error["code"], error["response"]["status"]) == (400, 400, 404)
    assert error["message"] == "POST to webhook target URL failed with non-2xx response code 404"


async def test_a_target_that_refuses_gets_no_webhook(api: Api, customer: Customer) -> None:
    """Neither by creating nor by changing; what was there stays."""
    customer.answers.append(web.Response(status=500))
    assert (await api.call("POST", LIST, body=good(customer))).status == 400
    assert list(await api.parts.webhooks.all()) == []
    path = await create(api, customer)
    before = await kept(api, path)
    customer.answers.append(web.Response(status=302, headers={"Location": customer.target}))
    answer = await api.call("PUT", path, body={"target": customer.target + "?new", "name": "new"})
    assert (answer.status, await kept(api, path)) == (400, before)
    assert "non-2xx response code 302" in answer.body["errors"][0]["message"]


async def test_a_token_is_asked_for_at_create_and_change(api: Api, customer: Customer) -> None:
    """First, and the test carries it; a pause needs none; without a token nothing is kept."""
    path = await create(api, customer, **customer.oauth2)
    token, hook = customer.posts
    assert (token.path, token.headers["Content-Type"]) == ("/token", "application/x-www-form-urlencoded")
    assert token.body == "grant_type=client_credentials&client_secret=hush+%26+%C3%BC"
    assert (hook.path, hook.headers["Authorization"]) == ("/hook", "Bearer secret-1")
    assert (await kept(api, path)).auth_header == "Bearer secret-1"
    assert (await read(api, path))["auth_credentials"] == {"expires_in": 3600}
    await api.call("PUT", path, body={"name": "new"})
    assert (await kept(api, path)).auth_header == "Bearer secret-2"
    await api.call("PUT", path, body={"active": False})
    assert (customer.tokens, (await kept(api, path)).auth_header) == (2, "Bearer secret-2")
    customer.token_answers.append(web.json_response({"error": "invalid_client"}, status=401))
    answer = await api.call("POST", LIST, body=good(customer, **customer.oauth2))
    (error,) = answer.body["errors"]
    assert (answer.status, error["code"], error["response"]["status"]) == (400, 400, 401)
    assert error["message"] == "POST to webhook tokens URL failed"
    assert len(await api.parts.webhooks.all()) == 1


async def test_a_token_url_meets_the_guard_too(api: Api, customer: Customer) -> None:
    """It is an outsider's word like the target."""
    for url in ("http://127.0.0.2/token", "http://169.254.169.254/latest", "http://localhost:1@10.0.0.1/"):
        body = good(customer, auth_type="oauth2", auth_request_details={"url": url, "body": {"a": "b"}})
        answer = await api.call("POST", LIST, body=body)
        assert answer.status == 400
    assert customer.posts == []


async def test_no_secret_is_shown(api: Api, customer: Customer) -> None:
    """Neither by itself nor in what the customer may read, however the webhook authorizes itself."""
    basic: dict[str, Any] = {"auth_type": "basic", "auth_credentials": {"username": "ann", "password": "secret"}}
    paths = [
        await create(api, customer, **basic, auth_token="secret"),
        await create(api, customer, **customer.oauth2),
    ]
    shown = [await read(api, path) for path in paths] + (await api.call("GET", LIST)).body["results"]
    assert shown[0]["auth_credentials"] == {"username": "ann"}
    assert shown[1]["auth_request_details"] == {"url": f"{customer.url}/token", "body": {}}
    for secret in ("secret", "hush", "c2VjcmV0", "YW5u"):
        assert secret not in str(shown)


def test_a_message_too_deep_to_be_sent_is_refused() -> None:
    """The parser reads deeper than the writer writes."""
    deep = b"[" * 500 + b"]" * 500
    with pytest.raises(Problem, match="nested too deep"):
        omni_etl.api.webhooks._message(b'{"message":[{"msys":{"a":%b}}]}' % deep)
