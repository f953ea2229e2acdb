"""failures: what is wrong is said in one shape, and nothing else is."""

from pathlib import Path

import pytest
from tests.api.server import Api

HOOKS = "/api/v1/webhooks"


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        ("{", ["Request body parsing failed [Attached error message: Expecting property name enclosed in double quotes]"]),
        ("", ["'request body' is required"]),
        ("[]", ["'request body' must be an object"]),
        ('{"name":"x"}', ["'target' is required", "'events' is required"]),
        ('{"name":1,"target":[],"events":"x"}',
         ["'name' must be a string", "'target' must be a string", "'events' must be an array"]),
        ("[" * 100_000, ["There was an error parsing the body"]),
        (b'{"name":"\xff"}', ["There was an error parsing the body"]),
    ],
)  # fmt: skip
async def test_every_broken_rule_of_a_body_is_named(api: Api, body: str | bytes, messages: list[str]) -> None:
    """In SparkPost's words; and whatever the body is, never a fault of ours."""
    data = body.encode() if isinstance(body, str) else body
    headers = {"Authorization": api.key, "Content-Type": "application/json"}
    async with api.session.post(api.url + HOOKS, data=data, headers=headers) as answer:
        assert answer.status == 400
        assert answer.content_type == "application/json"
        assert await answer.json() == {"errors": [{"message": each} for each in messages]}


async def test_a_body_without_a_type_is_json(api: Api) -> None:
    """Clients forget to say so."""
    answer = await api.call("POST", HOOKS, text="{}", headers={"Content-Type": ""})
    assert [each["message"] for each in answer.body["errors"]][:1] == ["'name' is required"]


async def test_ways_that_there_are_not_have_their_codes(api: Api) -> None:
    """As SparkPost numbers them; a thing that is not there has none."""
    assert (await api.call("GET", "/api/v1/nothing")).body == {"errors": [{"message": "Not Found", "code": "1101"}]}
    assert (await api.call("PUT", HOOKS)).body == {"errors": [{"message": "Method Not Allowed", "code": "1102"}]}
    assert "code" not in (await api.call("GET", "/api/v1/suppression-list/a@b.c")).body["errors"][0]


async def test_an_engine_that_is_away_tells_nothing_of_itself(api: Api, tmp_path: Path) -> None:
    """Neither path nor address."""
    (tmp_path / "database").rename(tmp_path / "elsewhere")
    answer = await api.call("GET", HOOKS)
    assert (answer.status, answer.error) == (503, "An engine is away; try again in a moment.")
