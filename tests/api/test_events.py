"""events: everything that can be searched for, and only that; pages that neither repeat nor skip."""

import random
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import orjson
import pytest
from tests.api import stored_events
from tests.api.server import Api, running
from tests.api.stored_events import FILTERS, HOUR, NOW, matching, put, various
from tests.builders import line

from omni_etl.api import event_page
from omni_etl.backends.clickhouse import ClickHouseStore

PATH = "/api/v1/events/message"


async def found(api: Api, path: str = PATH, /, **asked: Any) -> list[str]:
    """The ids of the events of one page."""
    answer = await api.call("GET", f"{path}?{urlencode(asked, doseq=True)}")
    assert answer.status == 200, answer.body
    return [event["event_id"] for event in answer.body["results"]]


async def pages(api: Api, path: str) -> AsyncIterator[list[str]]:
    """The ids of one page after the other, as the links lead."""
    following: str | None = path
    while following is not None:
        answer = await api.call("GET", following)
        assert answer.status == 200, answer.body
        yield [event["event_id"] for event in answer.body["results"]]
        following = answer.body["links"].get("next")


@pytest.fixture
async def lines(searched: Api, clickhouse: ClickHouseStore) -> Sequence[bytes]:
    """What is stored: three envelopes of events that are much alike."""
    made = various(240, seed=1)
    for seq, start in enumerate(range(0, len(made), 80), start=1):
        await put(clickhouse, made[start : start + 80], seq=seq)
    return made


async def test_each_parameter_finds_what_python_finds(searched: Api, lines: Sequence[bytes]) -> None:
    """Every value of every filter alone; whole words, exact ids, addresses whatever their case."""
    for name, (_, values) in FILTERS.items():
        beside = {"ab_tests": ["reset"]} if name == "ab_test_versions" else {}
        for value in values:
            asked = {name: [value], **beside}
            assert sorted(await found(searched, **asked)) == sorted(matching(lines, asked)), asked


async def test_parameters_go_together_and_values_stand_in_for_each_other(searched: Api, lines: Sequence[bytes]) -> None:
    """Two filters with two values each: all of the filters, any of the values."""
    rng = random.Random(5)
    hits = 0
    for _ in range(60):
        names = rng.sample(sorted(FILTERS.keys() - {"ab_test_versions"}), 2)
        asked = {name: rng.sample(FILTERS[name][1], 2) for name in names}
        expected = matching(lines, asked)
        hits += bool(expected)
        assert sorted(await found(searched, **asked)) == sorted(expected), asked
    assert hits > 20  # most find something


async def test_a_list_comes_in_any_spelling(searched: Api, lines: Sequence[bytes]) -> None:
    """Commas, repeated names, indexes, and another delimiter where a value holds a comma."""
    expected = sorted(matching(lines, {"events": ["bounce", "open"]}))
    for query in (
        "events=bounce,open",
        "events=bounce%2Copen",
        "events=bounce&events=open",
        "events[0]=bounce&events[1]=open",
    ):
        answer = await searched.call("GET", f"{PATH}?{query}")
        assert sorted(each["event_id"] for each in answer.body["results"]) == expected, query
    assert sorted(await found(searched, events="bounce|open", delimiter="|")) == expected


async def test_the_window_is_a_day_up_to_a_minute_ago(searched: Api, clickhouse: ClickHouseStore) -> None:
    """From inclusive, to exclusive, in every form in which clients write a time."""
    ages = {"new": 59, "last": 60 + 1, "edge": 60, "first": 24 * HOUR, "old": 24 * HOUR + 1}
    await put(clickhouse, [line(event_id=name, timestamp=str(NOW - age)) for name, age in ages.items()], seq=1)
    assert await found(searched) == ["last", "first"]
    # NOW is 2023-11-14T22:13:20Z
    assert await found(searched, **{"from": "2023-11-14T22:12:19Z", "to": "2023-11-14T22:12:20.000Z"}) == ["last"]
    assert await found(searched, **{"from": "2023-11-13T22:13", "to": "2023-11-14T17:14:00-0500"}) == [
        "new", "edge", "last", "first", "old",
    ]  # fmt: skip
    assert await found(searched, **{"from": "0001-01-01T00:00", "to": "9999-12-31T00:00"}) == [
        "new", "edge", "last", "first", "old",
    ]  # fmt: skip
    assert await found(searched, **{"from": "2023-11-14T22:13:20"}) == []  # later than the default of `to`: no fault


async def test_an_event_is_shown_as_searches_show_it(searched: Api, clickhouse: ClickHouseStore) -> None:
    """Flat, ISO times, ids of accounts as numbers; an answer of one page has no further one."""
    sent = line(
        event_id="e",
        timestamp=str(NOW - 61),
        customer_id="1",
        subaccount_id="7",
        num_retries="2",
        rcpt_meta={"a": ["b"]},
    )
    await put(clickhouse, [sent], seq=1)
    answer = await searched.call("GET", PATH)
    assert answer.body == {
        "results": [
            {
                "type": "delivery", "timestamp": "2023-11-14T22:12:19.000Z", "event_id": "e", "customer_id": 1,
                "subaccount_id": 7, "num_retries": "2", "rcpt_meta": {"a": ["b"]},
            }
        ],
        "total_count": 1,
        "links": {},
    }  # fmt: skip
    assert answer.headers["Content-Type"] == "application/json"


async def test_a_walk_meets_every_event_once_while_others_come_in(searched: Api, clickhouse: ClickHouseStore) -> None:
    """Late ones with old times too, before and behind the place of the walk: what stood at its start comes once."""
    before = various(300, seed=1)
    await put(clickhouse, before, seq=5)
    met: list[str] = []
    seq = 5
    async for page in pages(searched, f"{PATH}?per_page=17"):
        met += page
        seq += 1
        await put(clickhouse, various(20, seed=seq), seq=seq % 9 * 1000 + seq)  # keys before and behind the others
        searched.clock.advance(40)
    ids = {orjson.loads(each)["event_id"] for each in before}
    assert sorted(each for each in met if each in ids) == sorted(ids)
    assert len(set(met)) == len(met)
    assert seq > 20


async def test_a_page_says_how_many_there_are_and_where_to_go_on(searched: Api, lines: Sequence[bytes]) -> None:
    """The total of the first page on all of them; the link is host-relative and repeats every parameter."""
    expected = matching(lines, {"events": ["bounce", "open"], "subjects": ["süß"]})
    path = f"{PATH}?events=bounce%2Copen&subjects={quote('süß')}&per_page=3&unknown=1"
    totals, pages_seen, met = set(), 0, list[str]()
    following: str | None = path
    while following is not None:
        answer = await searched.call("GET", following)
        totals.add(answer.body["total_count"])
        met += [event["event_id"] for event in answer.body["results"]]
        pages_seen += 1
        following = answer.body["links"].get("next")
        if following is not None:
            assert following.startswith(f"{PATH}?")
            asked = parse_qs(urlsplit(following).query)
            assert asked.pop("cursor")
            assert asked == {"events": ["bounce,open"], "subjects": ["süß"], "per_page": ["3"], "unknown": ["1"]}
    assert totals == {len(expected)}
    assert sorted(met) == sorted(expected)
    assert pages_seen == -(-len(expected) // 3)


async def test_newest_come_first(searched: Api, lines: Sequence[bytes]) -> None:
    """By time; a page that is exactly full has no next one."""
    answer = await searched.call("GET", f"{PATH}?cursor=initial&per_page={len(lines)}")
    times = [event["timestamp"] for event in answer.body["results"]]
    assert times == sorted(times, reverse=True)
    assert answer.body["links"] == {}
    assert answer.body["total_count"] == len(times) == len(lines)


async def test_a_page_of_many_pieces_is_whole(
    searched: Api, clickhouse: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read and sent in pieces, long events a few at a time; the answer is one JSON document in order."""
    monkeypatch.setattr(event_page, "READ_BYTES", 200_000)
    monkeypatch.setattr(event_page, "FIRST_COUNT", 7)
    made = [
        line(
            event_id=f"{number}", timestamp=str(NOW - HOUR - number), subject="x" * (100_000 if number % 5 == 0 else 10)
        )
        for number in range(60)
    ]
    await put(clickhouse, made, seq=1)
    assert await found(searched, per_page=10_000) == [f"{number}" for number in range(60)]


async def test_odd_texts_are_texts(searched: Api, clickhouse: ClickHouseStore) -> None:
    """Quotes, backslashes, control characters, NUL, patterns and other planes are found as they are, and do no harm."""
    odd = [
        "it's",
        '"',
        "a\\",
        "\\n",
        "a\nb",
        "a\tb",
        "a\rb",
        "a\0b",
        "%_",
        "(.*)",
        "[",
        "{x:String}",
        "\U0001f600",
        "\u2028",
        "`",
        "\\'",
        "--",
        "�",
    ]
    await put(clickhouse, [line(event_id=text, timestamp=str(NOW - 61), subject=text) for text in odd], seq=1)
    for text in odd:
        assert await found(searched, event_ids=text) == [text]
        hits = await found(searched, subjects=text)
        assert text in hits or text in {"%_", "--"}, text  # of these, separators are left out
        assert len(hits) <= 2, (text, hits)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("per_page=0", "per_page must be a number from 1 to 10000"),
        ("per_page=10001", "per_page must be a number from 1 to 10000"),
        ("per_page=many", "per_page must be a number from 1 to 10000"),
        ("from=yesterday", "from must be in the format YYYY-MM-DDTHH:MM"),
        ("to=2023-13-01T00:00", "to must be in the format YYYY-MM-DDTHH:MM"),
        ("from=2023-11-14T22:00&to=2023-11-14T21:00", "from must be before to"),
        ("events=bounce,nothing", "events holds unknown types: nothing"),
        ("events=success", "events holds unknown types: success"),
        ("subaccounts=one", "subaccounts must be numbers from 0 to 2147483647"),
        ("subaccounts=2147483648", "subaccounts must be numbers from 0 to 2147483647"),
        ("subaccounts=-1", "subaccounts must be numbers from 0 to 2147483647"),
        ("ab_test_versions=1", "ab_test_versions requires ab_tests"),
        ("cursor=nonsense", "cursor is invalid, or of another search"),
        ("cursor=%00", "cursor is invalid, or of another search"),
        ("cursor=W10", "cursor is invalid, or of another search"),
    ],
)
async def test_what_cannot_be_asked_is_said(searched: Api, query: str, message: str) -> None:
    """400 with what it must be."""
    answer = await searched.call("GET", f"{PATH}?{query}")
    assert (answer.status, answer.error) == (400, message)


async def test_a_long_uri_is_refused_and_its_links_are_not(searched: Api, lines: Sequence[bytes]) -> None:
    """4096 characters, the cursor left out: a search that was taken can be walked to its end."""
    longest = f"{PATH}?per_page=200&x="
    longest += "a" * (4096 + 1 - len(longest))  # the `?` is not counted
    assert len([page async for page in pages(searched, longest)]) == 2
    answer = await searched.call("GET", longest + "a")
    assert (answer.status, answer.error) == (414, "the URI is longer than 4096 characters")


async def test_a_cursor_belongs_to_its_search(searched: Api, lines: Sequence[bytes]) -> None:
    """With another filter, another window or a changed character it is refused; with another page size it is not."""
    answer = await searched.call("GET", f"{PATH}?per_page=5&events=open")
    cursor = parse_qs(urlsplit(answer.body["links"]["next"]).query)["cursor"][0]
    assert len(await found(searched, per_page=3, events="open", cursor=cursor)) == 3
    for other in ("events=click", "", "events=open&subaccounts=7", "events=open&from=2023-11-14T00:00"):
        refused = await searched.call("GET", f"{PATH}?{other}&cursor={cursor}")
        assert refused.status == 400, other
    for place in range(0, len(cursor) - 1, 7):
        changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        assert (await searched.call("GET", f"{PATH}?events=open&cursor={changed}")).status == 400, place


async def test_a_subaccounts_key_sees_its_own(searched: Api, lines: Sequence[bytes]) -> None:
    """Whatever it asks for, and with whosever cursor."""
    own = matching(lines, {"subaccounts": ["7"]})
    answer = await searched.call("GET", f"{PATH}?per_page=5")
    cursor = parse_qs(urlsplit(answer.body["links"]["next"]).query)["cursor"][0]
    searched.key = await searched.parts.keys.create("theirs", subaccount_id=7)
    for query in ("", "subaccounts=8", "subaccounts=0,8", "subaccounts=7"):
        answer = await searched.call("GET", f"{PATH}?{query}")
        assert sorted(event["event_id"] for event in answer.body["results"]) == sorted(own), query
        assert answer.body["total_count"] == len(own)
    assert (await searched.call("GET", f"{PATH}?per_page=5&cursor={cursor}")).status == 400


async def test_only_who_may_searches(searched: Api) -> None:
    """401 without a key, 403 without the grant."""
    assert (await searched.call("GET", PATH, headers={"Authorization": "nobody"})).status == 401
    other = await searched.parts.keys.create("other", grants=["metrics/view"])
    for path in (PATH, "/api/v1/events/ingest", "/api/v1/message-events"):
        assert (await searched.call("GET", path, headers={"Authorization": other})).status == 403
    mine = await searched.parts.keys.create("mine", grants=["events/view"])
    assert (await searched.call("GET", PATH, headers={"Authorization": mine})).status == 200


async def test_a_store_that_is_away_is_said(api: Api) -> None:
    """503 with a time to wait; what needs no store is answered."""
    answer = await api.call("GET", PATH)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert (await api.call("GET", "/api/v1/webhooks")).status == 200


async def test_a_store_is_found_when_it_is_there(tmp_path: Any, clickhouse: ClickHouseStore, store_url: str) -> None:
    """The API starts without it, and connects at the first question after that."""
    async with running(tmp_path / "database", store_url="http://127.0.0.1:1/omni") as api:
        api.key = await api.parts.keys.create("test")
        assert (await api.call("GET", PATH)).status == 503
        event_search: Any = api.parts.event_search
        event_search._store = ClickHouseStore(store_url, timeout_seconds=30)
        assert (await api.call("GET", PATH)).status == 200


async def test_ingest_events_are_searched_apart(searched: Api, clickhouse: ClickHouseStore) -> None:
    """By batch, and by whether to try again; a search of messages does not find them."""
    at = str(NOW - 61)
    await put(
        clickhouse,
        [
            line("success", event_id="good", timestamp=at, batch_id="a", number_succeeded=2),
            line("error", event_id="bad", timestamp=at, batch_id="b", retryable=True, error_type="validation"),
            line("error", event_id="worse", timestamp=at, batch_id="c", retryable=False),
            line("delivery", event_id="mail", timestamp=at, batch_id="a"),
        ],
        seq=1,
    )
    path = "/api/v1/events/ingest"
    assert await found(searched) == ["mail"]
    assert sorted(await found(searched, path)) == ["bad", "good", "worse"]
    assert await found(searched, path, batch_ids="a") == ["good"]
    assert await found(searched, path, events="error", batch_ids="a,b") == ["bad"]
    assert await found(searched, path, retryable="true") == ["bad"]
    assert await found(searched, path, retryable="false") == ["worse"]
    assert (await searched.call("GET", f"{path}?retryable=perhaps")).status == 400
    assert (await searched.call("GET", f"{path}?events=bounce")).status == 400


def test_every_parameter_is_compared() -> None:
    """The table of these tests is the API's own."""
    from omni_etl.api.event_query import MESSAGE  # noqa: PLC0415 only to compare

    assert {*MESSAGE.exact, *MESSAGE.words, "events", "subaccounts"} == stored_events.FILTERS.keys()
