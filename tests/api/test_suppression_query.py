"""suppression_query: every parameter of a search, its pages and cursors, over HTTP."""

import base64
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.api.server import Api

from omni_etl.suppression_list import Saying

LIST = "/api/v1/suppression-list"
TIME_MS = 1_700_000_000_000  # 2023-11-14T22:13:20


def saying(number: int, **said: Any) -> Saying:
    """One of several, each a second after the other."""
    members = {
        "subaccount_id": 0,
        "recipient": f"{number}@x.example",
        "type": "transactional",
        "suppressed": True,
        "said_at_ms": TIME_MS + number * 1_000,
        "said_id": "",
        "source": "Bounce Rule",
        "description": f"550 no {number}",
    }
    return Saying(**{**members, **said})


@pytest.fixture
async def filled(api: Api) -> Api:
    """Five entries."""
    sayings = [
        saying(0),
        saying(1, source="Spam Complaint"),
        saying(2, type="non_transactional", source="List Unsubscribe"),
        saying(3, recipient="3@y.example"),
        saying(4, list_id="news", description="Ä B"),
    ]
    await api.parts.suppression_list.say(sayings)
    return api


async def names(api: Api, query: str) -> list[int]:
    """Which were found, by number."""
    answer = await api.call("GET", f"{LIST}?{query}")
    assert answer.status == 200, answer.body
    return [int(each["recipient"][0]) for each in answer.body["results"]]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [4, 3, 2, 1, 0]),
        ("sort=asc", [0, 1, 2, 3, 4]),
        ("sort=desc&nonsense=1", [4, 3, 2, 1, 0]),
        ("per_page=2", [4, 3]),
        ("limit=2", [4, 3]),
        ("limit=2&per_page=3", [4, 3, 2]),
        ("types=transactional,non_transactional", [4, 3, 2, 1, 0]),
        ("types=non_transactional", [2]),
        ("types=non_transactional&types=transactional", [4, 3, 2, 1, 0]),
        ("types%5B0%5D=non_transactional&types%5B1%5D=", [2]),
        ("sources=Spam+Complaint,List%20Unsubscribe", [2, 1]),
        ("sources=spam_complaint", [1]),
        ("sources=Compliance", []),
        ("domain=x.example", [4, 2, 1, 0]),
        ("domain=@Y.Example", [3]),
        ("domain=example", []),
        ("description=NO", [3, 2, 1, 0]),
        ("description=no+3", [3]),
        ("description=no&description_strict=true", []),
        ("description=550+no+3&description_strict=True", [3]),
        ("description=NO&description_strict=false", [3, 2, 1, 0]),
        ("list_id=news", [4]),
        ("list_id=", [3, 2, 1, 0]),
        ("from=2023-11-14T22:13:22", [4, 3, 2]),
        ("from=2023-11-14T22:14", []),
        ("to=2023-11-14T22:13:22Z", [2, 1, 0]),
        ("to=2023-11-14T17:13:22-0500", [2, 1, 0]),
        ("from=2023-11-14T22:13:21%2B0000&to=2023-11-14T23:13:22+01:00", [2, 1]),
        ("from=2023-11-14", [4, 3, 2, 1, 0]),
        ("page=2&per_page=2", [2, 1]),
        ("page=9&per_page=2", []),
        ("page=2&per_page=2&cursor=initial", [4, 3]),
    ],
)
async def test_a_parameter(filled: Api, query: str, numbers: list[int]) -> None:
    """Each does what the reference says."""
    assert await names(filled, query) == numbers


async def test_a_moment_is_the_second_that_is_shown(api: Api) -> None:
    """Within it both ends include."""
    await api.parts.suppression_list.say([saying(0, said_at_ms=TIME_MS + 999)])
    assert await names(api, "from=2023-11-14T22:13:20&to=2023-11-14T22:13:20") == [0]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("from=yesterday", "from must be a valid date"),
        ("to=2023-13-01", "to must be a valid date"),
        ("from=%00", "from must be a valid date"),
        ("types=both", "Type must be one of: 'transactional', 'non_transactional'"),
        ("sources=Somebody", "sources must be of: Compliance, "),
        ("sort=up", "sort must be one of: asc, desc"),
        ("description_strict=perhaps", "description_strict must be one of"),
        ("per_page=0", "per_page must be a number from 1 to 10000"),
        ("per_page=10001", "per_page must be a number from 1 to 10000"),
        ("limit=x", "limit must be a number from 1 to 10000"),
        ("page=0", "page must be a number"),
        ("page=11", "page reaches the first 10000 results only; use cursor"),
        ("list_id=a..b", "list_id must be"),
        ("description=" + "x" * 5_000, "description must be at most"),
        ("domain=" + "x" * 5_000, "domain must be at most"),
    ],
)
async def test_a_parameter_that_is_wrong(filled: Api, query: str, message: str) -> None:
    """400 with a message alone, as everything of this resource."""
    answer = await filled.call("GET", f"{LIST}?{query}")
    assert answer.status == 400
    assert answer.error.startswith(message)
    assert answer.body["errors"][0].keys() == {"message"}


@pytest.mark.parametrize("value", ["%00", "%ff%fe", "%ed%a0%80", "9" * 400, "😀", "%25", "_", "'", "[]", "é"])
@pytest.mark.parametrize(
    "name", ["domain", "description", "sources", "types", "list_id", "cursor", "from", "page", "sort"]
)
async def test_nothing_strange_is_a_fault_of_ours(filled: Api, name: str, value: str) -> None:
    """Found or refused."""
    answer = await filled.call("GET", f"{LIST}?{name}={value}")
    assert answer.status in (200, 400)


async def walked(api: Api, query: str) -> list[list[int]]:
    """Page by page, as the documented loop does it: until there is no `next`, or a page is empty."""
    pages = []
    href = f"{LIST}?{query}"
    while href:
        assert href.startswith("/api/v1/suppression-list?")
        body = (await api.call("GET", href)).body
        pages.append([int(each["recipient"][0]) for each in body["results"]])
        href = next((each["href"] for each in body["links"] if each["rel"] == "next"), "")
    return pages


@pytest.mark.parametrize("way", ["cursor=initial", "page=1"])
async def test_a_walk_by_links(filled: Api, way: str) -> None:
    """Host-relative, with everything else of the query kept."""
    assert await walked(filled, f"{way}&per_page=2") == [[4, 3], [2, 1], [0]]
    assert await walked(filled, f"{way}&per_page=5") == [[4, 3, 2, 1, 0]]
    query = urlencode(
        {"sort": "asc", "domain": "x.example", "list_id": "", "description": "550 no", "types[]": "transactional"}
    )
    assert await walked(filled, f"per_page=1&{way}&{query}") == [[0], [1]]


async def test_the_links_of_a_page(filled: Api) -> None:
    """`first`, `next`, `previous`, `last`, where there is one; with neither page nor cursor none."""
    links = {
        page: {
            each["rel"]: each["href"].partition("?")[2]
            for each in (await filled.call("GET", f"{LIST}?per_page=2&page={page}")).body["links"]
        }
        for page in (1, 2, 3)
    }
    first, last = "page=1&per_page=2", "page=3&per_page=2"
    assert links[1] == {"first": first, "next": "page=2&per_page=2", "last": last}
    assert links[2] == {"first": first, "next": last, "previous": first, "last": last}
    assert links[3] == {"first": first, "previous": "page=2&per_page=2", "last": last}
    assert (await filled.call("GET", LIST)).body["links"] == []


async def test_the_links_of_a_cursor(filled: Api) -> None:
    """`first` and `next`; each page counts all."""
    body = (await filled.call("GET", f"{LIST}?cursor=initial&per_page=4")).body
    assert [each["rel"] for each in body["links"]] == ["first", "next"]
    rest = (await filled.call("GET", body["links"][1]["href"])).body
    assert ([each["rel"] for each in rest["links"]], rest["total_count"]) == (["first"], 5)
    assert (await filled.call("GET", rest["links"][0]["href"])).body["results"] == body["results"]


async def test_a_walk_by_cursor_misses_nothing_that_is_changed(filled: Api) -> None:
    """What moves to the front meanwhile comes at the end."""
    body = (await filled.call("GET", f"{LIST}?cursor=initial&per_page=2")).body
    await filled.parts.suppression_list.say([saying(0, said_at_ms=TIME_MS + 90_000), saying(1, said_at_ms=0)])
    href = body["links"][1]["href"].partition("?")[2]
    assert await walked(filled, href) == [[2, 1], [0]]


@pytest.mark.parametrize(
    "packed",
    [
        b"", b"{}", b"[1]", b'[-1,null,"",0,"","",null]', b'[1,9223372036854775808,"a",0,"","",null]', b'[1,1,7,0,"","",null]',
        b'[1,1,"",0,"","",null,1]', b'[1,1,"",0,"","",1.5]', b"[" * 20_000, b'[1,1,"\xff",0,"","",null]',
    ],
)  # fmt: skip
async def test_a_forged_cursor(filled: Api, packed: bytes) -> None:
    """400 that names it."""
    cursor = base64.urlsafe_b64encode(packed).decode() or "x"
    answer = await filled.call("GET", f"{LIST}?cursor={cursor}")
    assert (answer.status, answer.error) == (400, "cursor is invalid")


async def test_a_made_up_cursor_shows_nobody_elses(filled: Api) -> None:
    """It is a place, not a right."""
    await filled.parts.suppression_list.say([saying(5, subaccount_id=7)])
    own = await filled.parts.keys.create("seven", subaccount_id=7)
    cursor = base64.urlsafe_b64encode(b'[0,null,"",0,"","",0]').decode()
    answer = await filled.call("GET", f"{LIST}?cursor={cursor}", headers={"Authorization": own})
    assert [each["recipient"] for each in answer.body["results"]] == ["5@x.example"]


async def test_pages_reach_ten_thousand(api: Api) -> None:
    """The last one that can be reached is full or cut there; cursors go on."""
    await api.parts.suppression_list.say([saying(0, recipient=f"{number}@x.example") for number in range(10_050)])
    answer = await api.call("GET", f"{LIST}?per_page=3000&page=4")
    assert (len(answer.body["results"]), answer.body["total_count"]) == (1_000, 10_050)
    assert [each["rel"] for each in answer.body["links"]] == ["first", "previous", "last"]
    body = (await api.call("GET", f"{LIST}?per_page=10000&cursor=initial")).body
    assert len(body["results"]) == 10_000
    assert len((await api.call("GET", body["links"][1]["href"])).body["results"]) == 50
