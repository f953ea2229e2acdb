"""auth: who may call."""

import base64

import pytest
from tests.api.server import Api

from omni_etl.api.auth import key_of


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
    """At once, without a restart."""
    (known,) = await api.parts.keys.all()
    await api.parts.keys.revoke(known.id)
    assert (await api.call("GET", "/api/v1/webhooks")).status == 401
