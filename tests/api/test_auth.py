"""auth: who may call."""

import base64
from pathlib import Path

import pytest
from tests.api.customer import Customer
from tests.api.server import Api, running

from omni_etl.api.auth import key_of
from omni_etl.api.known_keys import SAID_SECONDS_MAX
from omni_etl.api.rate import Rate
from omni_etl.clock import ManualClock


def basic(text: str) -> str:
    """As a client spells it."""
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("k", "k"),
        ("  k ", "k"),
        (basic("k:"), "k"),
        (basic("k:ignored"), "k"),
        (basic("k"), "k"),
        (basic("k:").replace("Basic", "basic"), "k"),
        ("", ""),
        ("Bearer k", ""),
        ("Basic k", ""),
        ("Basic " + base64.b64encode(b"\xff\xfe").decode(), ""),
        (basic(":k"), ""),
        ("Basic ké", ""),  # not even ASCII
    ],
)
def test_a_key_comes_bare_or_as_the_user_of_basic(header: str, key: str) -> None:
    """SparkPost's clients send both; anything else is no key."""
    assert key_of(header) == key


async def test_both_forms_open_the_api(api: Api) -> None:
    """The key itself, and curl's `-u KEY:`."""
    for header in (api.key, basic(f"{api.key}:")):
        assert (await api.call("GET", "/api/v1/webhooks", headers={"Authorization": header})).status == 200


async def test_nothing_is_said_without_a_known_key(api: Api) -> None:
    """Missing, wrong, or cut short: 401 before anything else is looked at."""
    ways = [
        ("GET", "/api/v1/webhooks"),
        ("POST", "/api/v1/webhooks"),
        ("GET", "/api/v1/webhooks/x"),
        ("DELETE", "/api/v1/webhooks/x"),
        ("GET", "/api/v1/suppression-list/a@b.c"),
        ("GET", "/api/v1/status"),
    ]
    for method, path in ways:
        for header in ("", "nonsense", api.key[:-1], "Bearer " + api.key):
            answer = await api.call(method, path, headers={"Authorization": header})
            assert (answer.status, answer.error) == (401, "Unauthorized."), (method, path, header)


async def test_a_revoked_key_opens_nothing(api: Api) -> None:
    """Without a restart, within a second: so long the API remembers it."""
    assert (await api.call("GET", "/api/v1/webhooks")).status == 200
    (known,) = await api.parts.keys.all()
    await api.parts.keys.revoke(known.id)
    api.clock.advance(SAID_SECONDS_MAX)
    assert (await api.call("GET", "/api/v1/webhooks")).status == 401


async def test_a_key_does_what_it_was_granted(api: Api) -> None:
    """403 for the rest; and nothing that tells of the whole system."""
    api.key = await api.parts.keys.create("reader", grants=["webhooks/view"])
    assert (await api.call("GET", "/api/v1/webhooks")).status == 200
    for method, path in (("POST", "/api/v1/ingest/events"), ("GET", "/api/v1/status")):
        answer = await api.call(method, path)
        assert (answer.status, answer.body) == (403, {"errors": [{"message": "Forbidden."}]}), path


async def test_a_subaccounts_key_learns_nothing_of_the_system(api: Api) -> None:
    """Though it may do everything that is its own."""
    api.key = await api.parts.keys.create("seven", subaccount_id=7)
    assert (await api.call("GET", "/api/v1/webhooks")).status == 200
    assert (await api.call("GET", "/api/v1/status")).status == 403


async def test_a_key_that_asks_too_often_waits(tmp_path: Path) -> None:
    """429 with the seconds to wait; another key goes on, and so does whoever waited. The suppression list has no limit."""
    clock = ManualClock()
    async with running(tmp_path, rate=Rate(per_second=0.5, burst=2, clock=clock)) as api:
        api.key = await api.parts.keys.create("often")
        answers = [await api.call("GET", "/api/v1/webhooks") for _ in range(3)]
        assert [each.status for each in answers] == [200, 200, 429]
        assert answers[2].body == {"errors": [{"message": "Too many requests"}]}
        assert answers[2].headers["Retry-After"] == "2"
        assert (await api.call("GET", "/api/v1/suppression-list/a@example.com")).status == 404
        other = {"Authorization": await api.parts.keys.create("other")}
        assert (await api.call("GET", "/api/v1/webhooks", headers=other)).status == 200
        clock.advance(2)
        assert (await api.call("GET", "/api/v1/webhooks")).status == 200


async def test_a_subaccounts_key_meets_its_own_alone(api: Api, customer: Customer) -> None:
    """Whatever its header asks: what is another's is neither listed, read nor changed, and what it makes is its own."""
    hook = {"name": "n", "target": customer.target, "events": ["bounce"]}
    ids = {}
    for owner in ("7", "8"):
        made = await api.call("POST", "/api/v1/webhooks", body=hook, headers={"X-MSYS-SUBACCOUNT": owner})
        ids[owner] = made.body["results"]["id"]
    api.key = await api.parts.keys.create("seven", subaccount_id=7)
    for asked in ({}, {"X-MSYS-SUBACCOUNT": "8"}, {"X-MSYS-SUBACCOUNT": "0"}):
        listed = await api.call("GET", "/api/v1/webhooks", headers=asked)
        assert [each["id"] for each in listed.body["results"]] == [ids["7"]], asked
        for method in ("GET", "DELETE"):
            assert (await api.call(method, f"/api/v1/webhooks/{ids['8']}", headers=asked)).status == 404, asked
    made = await api.call("POST", "/api/v1/webhooks", body=hook, headers={"X-MSYS-SUBACCOUNT": "8"})
    kept = await api.parts.webhooks.find(made.body["results"]["id"])
    assert kept is not None
    assert kept.subaccount_id == 7
