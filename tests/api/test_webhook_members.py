"""webhook_members: what cannot work is refused by name; what is taken can be sent."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.api.customer import Customer, serving
from tests.api.server import Answer, Api

from omni_etl.api.problems import Problem
from omni_etl.api.webhook_members import NewWebhook, made
from omni_etl.api.webhook_probe import probe
from omni_etl.backends.http import AiohttpPoster
from omni_etl.clock import ManualClock
from omni_etl.webhook import SUBACCOUNTS_ALL, TokenRequest

LIST = "/api/v1/webhooks"
BASIC = {"auth_type": "basic", "auth_credentials": {"username": "ann", "password": "pässword"}}
DETAILS = {"url": "https://example.com/token", "body": {"a": "b"}}
REFUSED: list[tuple[str, Any]] = [
    ("name", None),
    ("name", ""),
    ("name", "x" * 1025),
    ("name", "\ud800"),
    ("target", None),
    ("target", "example.com/hook"),
    ("target", "ftp://example.com"),
    ("target", "https://"),
    ("target", "https://user:password@example.com"),
    ("target", "https://:password@example.com"),
    ("target", "https://[::1"),
    ("target", "https://example.com:99999/"),
    ("target", "https://example.com:port/"),
    ("target", "https://example.com/a\r\nX-Evil: 1"),
    ("target", "https://example.com/a b"),
    ("target", "https://example.com/" + "x" * 4096),
    ("events", None),
    ("events", []),
    ("events", ["delivery", "deliverance"]),
    ("events", ["relay_message"]),
    ("events", "delivery"),
    ("active", "perhaps"),
    ("custom_headers", {"a b": "c"}),
    ("custom_headers", {"": "c"}),
    ("custom_headers", {"X-A": "b\r\nX-Evil: 1"}),
    ("custom_headers", {"X-A\r\nX-Evil": "b"}),
    ("custom_headers", {"X-A": "ü"}),
    ("custom_headers", {"X-A": {"b": "c"}}),
    ("custom_headers", {"X-A": "x" * 2997}),
    ("custom_headers", {"Content-Length": "1"}),
    ("custom_headers", {"host": "h"}),
    ("custom_headers", {f"X-{n}": "b" for n in range(6)}),
    ("exception_subaccounts", []),
    ("exception_subaccounts", [7, 7]),
    ("exception_subaccounts", [0]),
    ("exception_subaccounts", [2**31]),
    ("exception_subaccounts", list(range(1, 12))),
    ("auth_type", "digest"),
    ("auth_token", "a\nb"),
    ("auth_token", " a"),
    ("auth_token", "x" * 1025),
]
REFUSED_TOGETHER: list[tuple[str, dict[str, Any]]] = [
    ("'auth_credentials'", {"auth_type": "basic"}),
    ("'auth_credentials'", {"auth_type": "basic", "auth_credentials": {}}),
    ("'auth_credentials'", {"auth_type": "basic", "auth_credentials": {"password": "b"}}),
    ("'auth_credentials'", {"auth_type": "basic", "auth_credentials": {"username": "a:b", "password": "c"}}),
    ("'auth_request_details'", {"auth_type": "oauth2"}),
    ("'auth_request_details'", {"auth_type": "oauth2", "auth_request_details": {"url": "https://example.com/"}}),
    ("'auth_request_details'", {"auth_type": "oauth2", "auth_request_details": {"body": {"a": "b"}}}),
    ("'auth_request_details.url'", {"auth_type": "oauth2", "auth_request_details": {**DETAILS, "url": "file:///etc"}}),
    ("'auth_request_details.body", {"auth_type": "oauth2", "auth_request_details": {**DETAILS, "body": {"a": []}}}),
    ("'custom_headers'", {**BASIC, "custom_headers": {"authorization": "mine"}}),
    ("'custom_headers'", {"auth_token": "t", "custom_headers": {"x-messagesystems-webhook-TOKEN": "u"}}),
]


def good(**changed: Any) -> dict[str, Any]:
    """A body with these members changed; None leaves one out."""
    body = {"name": "mine", "target": "https://example.com/hook?a=1", "events": ["delivery"], **changed}
    return {name: value for name, value in body.items() if value is not None}


def new(**changed: Any) -> NewWebhook:
    """The same, parsed."""
    return NewWebhook.model_validate(good(**changed))


async def test_what_cannot_work_is_refused_by_name(api: Api) -> None:
    """400, the member in the message, nothing sent and nothing kept."""
    cases = [(f"'{member}", {member: value}) for member, value in REFUSED] + REFUSED_TOGETHER
    taken: list[tuple[str, Any, Answer]] = []
    for words, changed in cases:
        answer = await api.call("POST", LIST, body=good(**changed))
        if answer.status != 400 or not any(words in each["message"] for each in answer.body["errors"]):
            taken.append((words, changed, answer))
    assert taken == []
    assert list(await api.parts.webhooks.all()) == []


async def test_a_change_is_judged_as_a_new_one_is(api: Api, customer: Customer) -> None:
    """Member by member; of what was refused nothing is changed. Only an empty list of exceptions is more than nothing."""
    answer = await api.call("POST", LIST, body=good(target=customer.target))
    path = f"{LIST}/{answer.body['results']['id']}"
    before = list(await api.parts.webhooks.all())
    cases = [{member: value} for member, value in REFUSED if value not in (None, [])]
    for changed in [*cases, *(members for _, members in REFUSED_TOGETHER), {"events": []}, {"name": None}]:
        answer = await api.call("PUT", path, body=changed)
        assert answer.status == 400, changed
    assert list(await api.parts.webhooks.all()) == before
    assert (await api.call("PUT", path, body={"exception_subaccounts": [7]})).status == 200
    assert (await api.call("PUT", path, body={"exception_subaccounts": []})).status == 200
    assert list(await api.parts.webhooks.all()) == before


async def test_a_body_that_is_no_object_is_refused(api: Api) -> None:
    """With 400 and the usual shape, however deep or long."""
    for text in ("", "{", "[]", "null", '{"name": NaN', "[" * 100_000, '{"a":' * 100_000, "\x00", "1" * 5_000):
        answer = await api.call("POST", LIST, text=text, headers={"Content-Type": "application/json"})
        assert (answer.status, bool(answer.error)) == (400, True), text[:20]


def test_secrets_become_headers() -> None:
    """Ready to be sent; a scalar of any kind is a text in a header and in a form."""
    webhook = made(new(**BASIC, auth_token="t", custom_headers={"X-A": 1, "X-B": True, "X-C": 1.5}), None)
    assert (webhook.auth_header, webhook.auth_token) == ("Basic YW5uOnDDpHNzd29yZA==", "t")
    assert webhook.custom_headers == {"X-A": "1", "X-B": "true", "X-C": "1.5"}
    webhook = made(new(auth_type="oauth2", auth_request_details={**DETAILS, "body": {"a": 1, "b": False}}), 7)
    assert webhook.token_request == TokenRequest("https://example.com/token", {"a": "1", "b": "false"})
    assert (webhook.auth_header, webhook.subaccount_id) == (None, 7)


def test_what_asks_for_nothing_is_taken() -> None:
    """Clients send empty members for what they do not use, and members that we do not know."""
    webhook = made(new(auth_credentials={}, auth_request_details={}, auth_token="", custom_headers={}, id="x"), None)
    plain = made(new(), None)
    assert (webhook.auth_header, webhook.auth_token, webhook.token_request) == (None, None, None)
    assert (webhook.subaccount_id, webhook.id == plain.id) == (SUBACCOUNTS_ALL, False)


async def test_going_from_one_way_of_authorizing_to_another_leaves_no_secret(api: Api, customer: Customer) -> None:
    """None, basic, OAuth 2 and back; each replaces the one before whole."""
    answer = await api.call("POST", LIST, body=good(target=customer.target))
    path = f"{LIST}/{answer.body['results']['id']}"
    ways: list[tuple[dict[str, Any], str, str | None]] = [
        (BASIC, "basic", "Basic YW5uOnDDpHNzd29yZA=="),
        ({"auth_credentials": {"username": "bob"}}, "basic", "Basic Ym9iOg=="),
        (customer.oauth2, "oauth2", "Bearer secret-1"),
        ({"auth_type": "basic", "auth_credentials": {"username": "ann"}}, "basic", "Basic YW5uOg=="),
        ({"auth_type": "none"}, "none", None),
    ]
    for members, kind, header in ways:
        assert (await api.call("PUT", path, body=members)).status == 200
        (kept,) = await api.parts.webhooks.all()
        assert (kept.auth_header, kept.token_request is not None) == (header, kind == "oauth2")
        assert (await api.call("GET", path)).body["results"]["auth_type"] == kind


PRINTED = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=12)
PRINTED = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)
WILD = st.text(st.characters(max_codepoint=0x17F), max_size=4)
NAMES = st.text("!#$%&'*+.^_`|~-09AZaz", min_size=1, max_size=6)
SPECIAL = st.sampled_from(["X-A", "x-a", "Authorization", "Connection", "TE", "Host", "Cookie", "Accept-Encoding"])


@given(
    headers=st.dictionaries(NAMES | NAMES | SPECIAL | WILD, PRINTED | PRINTED | PRINTED | WILD, max_size=3),
    token=VISIBLE,
    username=WILD,
    password=WILD,
    path=VISIBLE,
)
def test_what_is_taken_can_be_sent(
    headers: dict[str, str], token: str, username: str, password: str, path: str
) -> None:
    """Whatever characters: refused here, or posted by the real poster and answered by a real server."""

    async def post(customer: Customer) -> None:
        basic = {"auth_type": "basic", "auth_credentials": {"username": username, "password": password}}
        changed = {"target": customer.target + "?" + path, "custom_headers": headers, "auth_token": token, **basic}
        try:
            webhook = made(new(**changed), None)
        except (Problem, ValidationError):
            return
        poster = AiohttpPoster(refusal=lambda *_: None, timeout_seconds=5.0, connections_max=1, clock=ManualClock())
        await poster.open()
        try:
            await probe(webhook, poster=poster, clock=ManualClock())
        finally:
            await poster.close()
        (came,) = customer.posts
        assert {(name.lower(), value.strip(" \t")) for name, value in headers.items()} <= came.pairs

    async def run() -> None:
        async with serving() as customer:
            await post(customer)

    asyncio.run(run())


@pytest.mark.parametrize("member", ["name", "target", "events"])
def test_a_new_one_must_say_what_it_is(member: str) -> None:
    """A change need not."""
    with pytest.raises(ValidationError, match=member):
        new(**{member: None})
