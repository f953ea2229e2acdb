"""Event search's contract: one order, whole words, and the events themselves, on ClickHouse in process."""

from collections.abc import AsyncIterator
from dataclasses import replace

import orjson
import pytest
from tests.builders import envelope, line

from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.backends.clickhouse_events import ClickHouseEvents
from omni_etl.errors import SettingsError, UnavailableError
from omni_etl.event import TYPES
from omni_etl.event_search import LINES_MAX, EventQuery, EventSearch, Place
from omni_etl.services.message_events import columns

AT = 1_764_000_000
HOUR = 3600
ALL = EventQuery(from_ms=0, to_ms=AT * 2000, types=TYPES)


@pytest.fixture
async def search(clickhouse: ClickHouseStore, store_url: str) -> AsyncIterator[EventSearch]:
    """On the events of `clickhouse`."""
    made = ClickHouseEvents(ClickHouseStore(store_url, timeout_seconds=30))
    await made.open()
    yield made
    await made.close()


async def put(store: ClickHouseStore, lines: list[bytes], *, seq: int = 1) -> None:
    """One envelope."""
    await store.insert("message_events", columns(envelope(lines, seq=seq)), token=f"{seq}", until=4e9)


async def test_events_have_one_order(search: EventSearch, clickhouse: ClickHouseStore) -> None:
    """Latest first; of one second, by envelope and line. After a place comes the rest of it; skipped are the first."""
    for seq in (1, 2, 3):
        await put(
            clickhouse, [line(timestamp=str(AT + each % 2), subject=f"{seq} {each}") for each in range(40)], seq=seq
        )
    places = await search.find(ALL, count_max=1000)
    assert len(places) == await search.count(ALL) == 120
    assert list(places) == sorted(set(places), reverse=True)
    for at in (0, 1, 59, 60, 118, 119):
        assert await search.find(ALL, count_max=1000, after=places[at]) == places[at + 1 :]
    assert await search.find(ALL, count_max=7, skip=50) == places[50:57]
    assert await search.find(ALL, count_max=7, after=places[3], skip=2) == places[6:13]
    beyond = Place(places[9].timestamp_ms, places[9].envelope_key, 2**32 - 1)
    assert (await search.find(ALL, count_max=1, after=beyond))[0] >= places[9]


async def test_a_search_goes_back_as_far_as_it_must(search: EventSearch, clickhouse: ClickHouseStore) -> None:
    """Hours, days, and whatever is before: each event once, also where one part of the window meets the next."""
    end = AT + 40 * HOUR
    times = [end - 1 - number * HOUR // 4 for number in range(160)] + [end - each * HOUR for each in (1, 5, 21)]
    await put(clickhouse, [line(timestamp=str(each)) for each in times])
    query = replace(ALL, to_ms=end * 1000)
    for count_max in (1, 5, 30, 163, 200):
        met = await search.find(query, count_max=count_max)
        assert [each.timestamp_ms // 1000 for each in met] == sorted(times, reverse=True)[:count_max]
        met = await search.find(query, count_max=count_max, after=met[len(met) // 2])
        assert len(set(met)) == len(met) == min(count_max, 163 - min(count_max, 163) // 2 - 1)
    assert await search.find(replace(query, to_ms=query.from_ms), count_max=1) == []


async def test_lines_come_as_they_are_in_their_order(search: EventSearch, clickhouse: ClickHouseStore) -> None:
    """Of many envelopes and of one; what is not there is left out, and nobody else's line comes for it."""
    stored = [
        line(timestamp=str(AT + each % 7), subject=f"\u2028 ü \\ {each}", event_id=f"{each}") for each in range(300)
    ]
    for seq in range(30):
        await put(clickhouse, stored[seq * 10 : seq * 10 + 10], seq=seq)
    places = await search.find(ALL, count_max=LINES_MAX)
    lines = await search.lines(places)
    assert sorted(each.encode() for each in lines) == sorted(stored)
    assert [orjson.loads(each)["timestamp"] for each in lines] == [str(each.timestamp_ms // 1000) for each in places]
    some = places[5:200:13]
    assert await search.lines(some) == [lines[at] for at in range(5, 200, 13)]
    strangers = [Place(AT * 1000, "unknown", 0), replace_line(places[0], 77), *places[:1]]
    assert await search.lines(strangers) == lines[:1]


def replace_line(place: Place, line_number: int) -> Place:
    """Another line of its envelope."""
    return place._replace(line_number=line_number)


@pytest.mark.parametrize(
    ("name", "value", "wanted", "hits"),
    [
        ("subject", "blackfriday-vip", "blackfriday", 1),
        ("subject", "blackfriday-vip", "friday", 0),
        ("subject", "blackfriday-vip", "vip", 1),
        ("subject", "blackfriday-vip", "BlackFriday VIP", 1),
        ("subject", "blackfriday-vip", "vip blackfriday", 0),
        ("subject", "a - _ b", "a b", 1),
        ("subject", "a.b", "b", 0),
        ("subject", "a\nb", "b", 0),
        ("subject", "line\none two", "two", 1),
        ("subject", "50% (off)", "(off)", 1),
        ("subject", "x", ".", 0),
        ("subject", "ÉTÉ", "été", 1),
        ("subject", "", "x", 0),
        ("recipient_domain", "mail.yahoo.co.uk", "yahoo", 1),
        ("recipient_domain", "info.example.com", "example.com", 1),
        ("recipient_domain", "info.example.com", "Example.COM", 1),
        ("recipient_domain", "infoexample.com", "example.com", 0),
        ("recipient_domain", "example.com.org", "example.com", 1),
        ("recipient_domain", "my-host.net", "host", 1),
        ("campaign_id", "a.b", "b", 0),
    ],
)
async def test_words_match_whole(
    search: EventSearch, clickhouse: ClickHouseStore, name: str, value: str, wanted: str, hits: int
) -> None:
    """In a row, whatever their case; a dot sets words of domains apart, and of nothing else."""
    await put(clickhouse, [line(**{name: value})])
    assert await search.count(replace(ALL, words={name: [wanted]})) == hits
    assert await search.count(replace(ALL, words={name: ["nothing", wanted]})) == hits


async def test_values_without_a_word_match_nothing(search: EventSearch, clickhouse: ClickHouseStore) -> None:
    """Not everything, as an empty pattern would."""
    await put(clickhouse, [line(subject="a - b"), line(subject="")])
    assert await search.count(replace(ALL, words={"subject": ["-", " _"]})) == 0
    assert await search.count(replace(ALL, words={"subject": ["-", "a"]})) == 1


async def test_the_markers_of_envelopes_are_no_events(search: EventSearch, clickhouse: ClickHouseStore) -> None:
    """Whatever is asked."""
    await put(clickhouse, [line()])
    assert await search.count(ALL) == 1
    assert len(await search.find(ALL, count_max=10)) == 1


async def test_an_absent_store_is_away(store_url: str) -> None:
    """None that is named, and one that does not answer; neither keeps a start from going on. Wrong credentials do."""
    for store in (None, ClickHouseStore("http://127.0.0.1:1", timeout_seconds=5)):
        search = ClickHouseEvents(store)
        await search.open()
        with pytest.raises(UnavailableError):
            await search.count(ALL)
        await search.close()
    stranger = ClickHouseEvents(ClickHouseStore(store_url.replace("default:", "default:x"), timeout_seconds=5))
    with pytest.raises(SettingsError):
        await stranger.open()
    with pytest.raises(UnavailableError):
        await stranger.count(ALL)
    await stranger.close()
