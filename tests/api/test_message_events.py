"""message_events: the older search, by numbered pages."""

from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from tests.api.server import Answer, Api
from tests.api.stored_events import HOUR, NOW, matching, put, various
from tests.builders import line

from omni_etl.backends.clickhouse import ClickHouseStore

PATH = "/api/v1/message-events"


def ids(answer: Answer) -> list[str]:
    """Of the events of a page."""
    assert answer.status == 200, answer.body
    return [event["event_id"] for event in answer.body["results"]]


@pytest.fixture
async def lines(searched: Api, clickhouse: ClickHouseStore) -> Sequence[bytes]:
    """What is stored."""
    made = various(120, seed=1)
    await put(clickhouse, made, seq=1)
    return made


@pytest.mark.parametrize(
    ("name", "of_today", "value"),
    [
        ("friendly_froms", "from_addresses", "news@send.example.com"),
        ("campaign_ids", "campaigns", "blackfriday-vip"),
        ("template_ids", "templates", "welcome_1"),
        ("message_ids", "messages", "000443ee14578172be22"),
        ("transmission_ids", "transmissions", "1"),
        ("ab_test_ids", "ab_tests", "password-reset"),
        ("recipients", "recipients", "ann@example.com"),
        ("subjects", "subjects", "summer_sale"),
        ("events", "events", "bounce"),
        ("bounce_classes", "bounce_classes", "10"),
        ("subaccounts", "subaccounts", "7"),
    ],
)
async def test_its_own_names_find_the_same(
    searched: Api, lines: Sequence[bytes], name: str, of_today: str, value: str
) -> None:
    """What is asked is the same; only the parameter's name is older."""
    expected = matching(lines, {of_today: [value]})
    assert expected
    assert sorted(ids(await searched.call("GET", f"{PATH}?{name}={value}"))) == sorted(expected)


@pytest.mark.parametrize("said", ["%25such%25", "SUCH", "no%20such%20us", "%25%25such"])
async def test_a_reason_is_found_by_a_part(searched: Api, lines: Sequence[bytes], said: str) -> None:
    """Anywhere in it, also within a word."""
    expected = [each["event_id"] for each in map(orjson.loads, lines) if "such" in each.get("reason", "")]
    assert sorted(ids(await searched.call("GET", f"{PATH}?reason={said}"))) == sorted(expected)


async def test_pages_are_numbered(searched: Api, lines: Sequence[bytes]) -> None:
    """Links say which others there are; the window they name stays where it was."""
    answer = await searched.call("GET", f"{PATH}?per_page=50&from=2023-11-14T00:00")
    following = {each["rel"]: each["href"] for each in answer.body["links"]}
    assert sorted(following) == ["last", "next"]
    assert answer.body["total_count"] == 120
    met = ids(answer)
    searched.clock.advance(10 * HOUR)
    answer = await searched.call("GET", following["next"])
    met += ids(answer)
    links = {each["rel"]: parse_qs(urlsplit(each["href"]).query)["page"] for each in answer.body["links"]}
    assert links == {"first": ["1"], "previous": ["1"], "next": ["3"], "last": ["3"]}
    answer = await searched.call("GET", following["last"])
    met += ids(answer)
    assert [each["rel"] for each in answer.body["links"]] == ["first", "previous"]
    assert sorted(met) == sorted(orjson.loads(each)["event_id"] for each in lines)


async def test_times_are_in_the_zone_that_is_named(searched: Api, clickhouse: ClickHouseStore) -> None:
    """And events are shown in their older form."""
    await put(clickhouse, [line(event_id="e", timestamp=str(NOW - 61), customer_id="1")], seq=1)
    window = "from=2023-11-14T17:12&to=2023-11-14T17:13"
    assert ids(await searched.call("GET", f"{PATH}?{window}")) == []
    answer = await searched.call("GET", f"{PATH}?{window}&timezone=America/New_York")
    [event] = answer.body["results"]
    assert event["tdate"] == event["timestamp"] == "2023-11-14T22:12:19.000Z"
    assert event["customer_id"] == "1"
    assert (await searched.call("GET", f"{PATH}?timezone=Nowhere")).status == 400


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "page=101", "page=2&per_page=10000&page=11", "reason=a&events=x"]
)
async def test_what_cannot_be_asked_is_said(searched: Api, query: str) -> None:
    """Pages end where the store would sort more than it should."""
    assert (await searched.call("GET", f"{PATH}?{query}")).status == 400


async def test_the_last_page_that_can_be_asked(searched: Api) -> None:
    """Is empty where there is nothing."""
    answer = await searched.call("GET", f"{PATH}?page=100")
    assert (ids(answer), answer.body["total_count"]) == ([], 0)
    assert [each["rel"] for each in answer.body["links"]] == ["first", "last"]
