"""suppression_check: the quick way to an answer says what the long way says."""

import pytest
from tests.api.server import Answer, Api

from omni_etl.errors import UnavailableError
from omni_etl.suppression_list import Entry, Saying

LIST = "/api/v1/suppression-list"


@pytest.fixture
async def filled(api: Api) -> Api:
    """Entries of two accounts."""
    for subaccount_id, list_id in ((0, ""), (7, ""), (7, "news")):
        await api.parts.suppression_list.say(
            [Saying(subaccount_id, "a@x.example", "transactional", True, 1_000, "", "Bounce Rule", "É \x00", list_id)]
        )
    return api


async def both(api: Api, recipient: str, **headers: str) -> Answer:
    """The quick answer, which must be the long one: a parameter that nobody knows goes the long way."""
    quick = await api.call("GET", f"{LIST}/{recipient}", headers=headers)
    long = await api.call("GET", f"{LIST}/{recipient}?nonsense=1", headers=headers)
    assert (quick.status, quick.body) == (long.status, long.body)
    assert names(quick) == names(long)
    return quick


def names(answer: Answer) -> dict[str, str]:
    """Headers but for the time and the id."""
    return {
        name.lower(): value for name, value in answer.headers.items() if name.lower() not in ("date", "x-request-id")
    }


@pytest.mark.parametrize(
    "recipient", ["a@x.example", "A@X.EXAMPLE", "b@x.example", "%00@x.example", "%ff@x.example", "%20", "é", "a%2Fb"]
)
async def test_every_key_hears_the_same(filled: Api, recipient: str) -> None:
    """Whoever asks, for whomever."""
    keys = filled.parts.keys
    for key in (
        filled.key,
        await keys.create("7", subaccount_id=7),
        await keys.create("v", grants=["suppression_list/view"]),
    ):
        for subaccount in ("", "0", "7", "8", "x", "-1", "99999999999"):
            answer = await both(filled, recipient, Authorization=key, **{"X-MSYS-SUBACCOUNT": subaccount})
            assert answer.status in (200, 400, 404)


@pytest.mark.parametrize("authorization", ["", "omni_wrong", "Bearer x", "Basic !", "Basic eDo=", "é"])
async def test_a_wrong_key_hears_the_same(filled: Api, authorization: str) -> None:
    """401."""
    assert (await both(filled, "a@x.example", Authorization=authorization)).status == 401


async def test_a_key_without_the_grant_hears_the_same(filled: Api) -> None:
    """403."""
    key = await filled.parts.keys.create("m", grants=["suppression_list/modify"])
    assert (await both(filled, "a@x.example", Authorization=key)).status == 403


async def test_a_revoked_key_is_refused_within_a_second(filled: Api) -> None:
    """As everywhere."""
    key = await filled.parts.keys.create("gone")
    assert (await both(filled, "a@x.example", Authorization=key)).status == 200
    await filled.parts.keys.revoke(next(each.id for each in await filled.parts.keys.all() if each.name == "gone"))
    filled.clock.advance(1.1)
    assert (await both(filled, "a@x.example", Authorization=key)).status == 401


async def test_an_engine_that_is_away_is_503(filled: Api) -> None:
    """Both ways."""

    async def away(_recipient: str, _subaccount_id: int | None = None) -> list[Entry]:
        raise UnavailableError("x")

    filled.parts.suppression_list.check = away  # type: ignore[assignment,method-assign]  # a fault
    answer = await filled.call("GET", f"{LIST}/a@x.example")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")


async def test_an_answer_carries_the_id_of_its_request(filled: Api) -> None:
    """The quick one too."""
    for recipient in ("a@x.example", "b@x.example"):
        answer = await filled.call("GET", f"{LIST}/{recipient}", headers={"X-Request-Id": "abc"})
        assert answer.headers["X-Request-Id"] == "abc"


async def test_the_quick_way_is_taken(filled: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all of the above compares the long way with itself."""
    monkeypatch.setattr("omni_etl.api.suppressions._list", None)  # the long way breaks
    assert (await filled.call("GET", f"{LIST}/a@x.example")).status == 200
    assert (await filled.call("GET", f"{LIST}/b@x.example")).status == 404
    assert (await filled.call("GET", f"{LIST}/a@x.example", headers={"X-MSYS-SUBACCOUNT": "7"})).body[
        "total_count"
    ] == 2


async def test_names_of_calls_are_no_recipients(filled: Api) -> None:
    """`summary` and `changes` are what they are, other methods too."""
    assert "total" in (await filled.call("GET", f"{LIST}/summary")).body["results"]
    assert (await filled.call("GET", f"{LIST}/changes?since=x")).status == 400
    assert (await filled.call("POST", f"{LIST}/a@x.example")).status == 405
