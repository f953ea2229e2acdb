"""api.metrics: every metric is what counting the events one by one gives, in every grouping, window and filter."""

import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.counted_events import BEGIN, Event, by_hand, decoded, mixed, put
from tests.api.server import Api
from tests.builders import line

from omni_etl.api.metric_formulas import EVERYWHERE, FORMULAS, OF_BOUNCES, OF_LINKS
from omni_etl.api.metrics import GROUPS, LISTS
from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.event import TYPES
from omni_etl.reports import DIMENSIONS

FROM, TO = "2023-11-14T22:00", "2023-11-15T01:00"
ALL = ",".join(sorted(by_hand([])))
FIELD = {"domain": "recipient_domain"}


async def ask(api: Api, path: str, **query: Any) -> Any:
    """The results, or the whole body where there are none."""
    query = {"from": FROM, "to": TO, "metrics": ALL, **query}
    answer = await api.call("GET", f"/api/v1/metrics/deliverability{path}?{urlencode(query)}")
    return answer.body.get("results", answer.body)


def field(event: Event, dimension: str) -> str:
    """As a report groups it."""
    if dimension == "domain" and "recipient_domain" not in event:
        return str(event["rcpt_to"]).partition("@")[2]
    value = event.get(FIELD.get(dimension, dimension)) or ""
    return str(int(value or 0)) if dimension == "subaccount_id" else str(value)


def grouped(events: Sequence[Event], key: Callable[[Event], Any]) -> dict[Any, list[Event]]:
    """Events by key."""
    found: dict[Any, list[Event]] = defaultdict(list)
    for event in events:
        found[key(event)].append(event)
    return found


async def test_sums_are_what_counting_gives(searched: Api, counted: list[Event]) -> None:
    """Every metric; unique ones in the unit of the precision."""
    for precision, unit_seconds in (("1min", 60), ("15min", 60), ("hour", 3600)):
        [row] = await ask(searched, "", precision=precision)
        assert row == by_hand(counted, unit_seconds), precision
    [row] = await ask(searched, "", precision="day")  # rounded to two whole days
    assert row == by_hand(counted, 86400)


async def test_aliases_are_other_names(searched: Api, counted: list[Event]) -> None:
    """With the same values."""
    names = [name for name in FORMULAS if name.endswith("_approx") and "raw" not in name]
    [row] = await ask(searched, "", metrics=",".join(names))
    assert row == {name: by_hand(counted)[name.removesuffix("_approx")] for name in names}


async def test_groups_are_what_counting_gives(searched: Api, counted: list[Event]) -> None:
    """By each dimension; largest first."""
    for name, dimension in GROUPS.items():
        rows = await ask(searched, f"/{name}", precision="hour", order_by="count_targeted")
        found = {str(row.pop(dimension)): row for row in rows}
        groups = grouped(counted, partial(field, dimension=dimension))
        assert found == {key: by_hand(events, 3600) for key, events in groups.items()}, name
        targeted = [row["count_targeted"] for row in rows]
        assert targeted == sorted(targeted, reverse=True)
        assert await ask(searched, f"/{name}", precision="hour", order_by="count_targeted", limit=1) == [
            {**rows[0], dimension: int(key) if dimension == "subaccount_id" else key} for key in list(found)[:1]
        ]


async def test_subaccounts_are_numbers(searched: Api, counted: list[Event]) -> None:
    """0 is the primary account."""
    rows = await ask(searched, "/subaccount", metrics="count_injected")
    expected = grouped(counted, lambda each: int(each.get("subaccount_id") or 0))
    assert {row["subaccount_id"]: row["count_injected"] for row in rows} == {
        key: by_hand(events)["count_injected"] for key, events in expected.items()
    }


async def test_watched_domains_are_the_big_ones(searched: Api, counted: list[Event]) -> None:
    """And no others."""
    [row] = await ask(searched, "/watched-domain", metrics="count_injected")
    gmail = [each for each in counted if field(each, "domain") == "gmail.com"]
    assert row == {"watched_domain": "gmail.com", "count_injected": by_hand(gmail)["count_injected"]}


@pytest.mark.parametrize(
    ("precision", "seconds", "unit_seconds"), [("1min", 60, 60), ("15min", 900, 60), ("hour", 3600, 3600)]
)
async def test_a_series_has_a_row_for_each_part(
    precision: str, seconds: int, unit_seconds: int, searched: Api, counted: list[Event]
) -> None:
    """Those too in which nothing happened."""
    rows = await ask(searched, "/time-series", precision=precision)
    parts = grouped(counted, lambda each: int(each["timestamp"]) // seconds * seconds)
    assert [datetime.fromisoformat(row.pop("ts")) for row in rows] == [
        datetime.fromtimestamp(BEGIN + number * seconds, UTC) for number in range(3 * 3600 // seconds)
    ]
    assert rows == [by_hand(parts[BEGIN + number * seconds], unit_seconds) for number in range(len(rows))]


async def test_filters_that_no_roll_up_holds_are_answered_from_the_events(searched: Api, counted: list[Event]) -> None:
    """The same formulas: every metric, for dimensions of several families together."""
    filters = {"domains": "gmail.com", "campaigns": "Spring Sale", "ip_pools": "a,b", "subaccounts": "0,7"}
    [row] = await ask(searched, "", precision="hour", **filters)
    among = [
        each
        for each in counted
        if field(each, "domain") == "gmail.com"
        and field(each, "campaign_id") == "Spring Sale"
        and field(each, "ip_pool") in {"a", "b"}
        and field(each, "subaccount_id") in {"0", "7"}
    ]
    assert row == by_hand(among, 3600)
    assert row["count_unique_confirmed_opened"] > 0


ANYTHING = '{"groupings":[{"AND":{"domains":{"notEq":["?"]},"campaigns":{"notEq":["?"]}}}]}'
"""Holds for every event, and no roll-up can tell."""

TEXTS = ["", "a", "A", "ü", "\0", "null", " ", "7", "9" * 20]
NUMBERS = ["", "0", "00", "1", "01", "2", "10", "-1", " 1", "1.0", "1e3", "٣", "007", "9" * 12, "9" * 13, "9" * 30]
ADDRESSES = ["", "x", "a@B.Example", "<a@b.example>", "a@b.example", "a@ü.example", "a@b c"]
ODD: dict[str, list[Any]] = {
    **dict.fromkeys(("recipient_domain", "mailbox_provider", "mailbox_provider_region", "campaign_id", "template_id"), TEXTS),
    **dict.fromkeys(("sending_domain", "ip_pool", "sending_ip", "target_link_name", "target_link_url"), TEXTS),
    **dict.fromkeys(("message_id", "transmission_id"), TEXTS),
    **dict.fromkeys(("num_retries", "queue_time", "msg_size"), NUMBERS),
    **dict.fromkeys(("rcpt_to", "friendly_from"), ADDRESSES),
    "bounce_class": ["", "1", "10", "010", "25", "80", "1000", "x"],
    "reason": ["", "a", "\0", "ü" * 1024, "ü" * 1025],
    "subaccount_id": ["", "0", "7", "007", "2147483647"],
    "user_agent_parsed": [{}, {"is_prefetched": True, "os": "x"}, {"is_prefetched": False}],
}  # fmt: skip


def odd(rng: random.Random) -> bytes:
    """An event that leaves out every fourth field, and tells the others strangely."""
    members = {name: rng.choice(values) for name, values in ODD.items() if rng.random() < 0.75}
    return line(rng.choice(sorted(TYPES)), **members, timestamp=str(BEGIN + rng.randrange(3 * 3600)))


@pytest.mark.parametrize("precision", ["1min", "hour"])
async def test_events_count_as_roll_ups_do(precision: str, searched: Api, clickhouse: ClickHouseStore) -> None:
    """Every report is the same from either, whatever an event leaves out or writes oddly."""
    rng = random.Random(7)
    for seq in (1, 2):
        await put(clickhouse, [odd(rng) for _ in range(800)], seq=seq)
    reports = {
        **dict.fromkeys(("", "/time-series", *(f"/{name}" for name in GROUPS)), ",".join(EVERYWHERE)),
        **dict.fromkeys(("/bounce-reason/domain", "/bounce-classification"), ",".join(OF_BOUNCES)),
        **dict.fromkeys(("/delay-reason", "/rejection-reason/domain", "/attempt"), ""),
        "/link-name": ",".join(OF_LINKS),
    }
    for path, metrics in reports.items():
        query = {"metrics": metrics, "precision": precision}
        assert await ask(searched, path, **query) == await ask(searched, path, **query, query_filters=ANYTHING), path


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), count=st.integers(0, 60))
async def test_identities_hold(seed: int, count: int, searched: Api, clickhouse: ClickHouseStore) -> None:
    """Of §4.4, whatever happened."""
    await put(clickhouse, mixed(count, seed=seed) or [b'{"type":"open","timestamp":"1699999200"}'], seq=seed + 10)
    for path, keys in (("", ()), ("/domain", ("domain",)), ("/time-series", ("ts",))):
        for row in await ask(searched, path, metrics=",".join(EVERYWHERE), precision="hour"):
            assert_identities({name: value for name, value in row.items() if name not in keys})


def assert_identities(row: dict[str, int]) -> None:
    """As the reference marks them."""

    def of(*names: str) -> int:
        return sum(row[f"count_{name}"] for name in names)

    assert of("rejected") == of("policy_rejection", "generation_failed", "generation_rejection")
    assert of("targeted") == of("injected", "rejected")
    assert of("delivered") == of("delivered_first", "delivered_subsequent")
    assert of("bounce") == of("inband_bounce", "outofband_bounce")
    assert of("bounce") == of("hard_bounce", "soft_bounce", "block_bounce", "undetermined_bounce")
    assert of("sent") == of("delivered", "inband_bounce")
    assert of("accepted") <= of("delivered") - of("outofband_bounce")
    assert of("unique_rendered") <= of("rendered")
    assert of("unique_clicked") <= of("unique_confirmed_opened")


async def test_lists_name_what_events_named(searched: Api, counted: list[Event]) -> None:
    """In order, by a part of the name, so many."""
    for name, dimension in LISTS.items():
        query = {"from": FROM, "to": TO}
        found = (await searched.call("GET", f"/api/v1/metrics/{name}?{urlencode(query)}")).body["results"][name]
        expected = sorted({field(each, dimension) for each in counted if field(each, dimension)}) if dimension else []
        assert found == expected
        for value in expected:
            part = urlencode({**query, "match": value.upper(), "limit": 1})
            assert (await searched.call("GET", f"/api/v1/metrics/{name}?{part}")).body["results"][name] == [value]


async def test_discovery_names_the_lists(searched: Api) -> None:
    """With links that lead there."""
    body = (await searched.call("GET", "/api/v1/metrics/")).body
    assert {each["rel"] for each in body["links"]} == set(LISTS)
    for each in body["links"]:
        assert (await searched.call("GET", each["href"])).status == 200


async def test_a_subaccounts_key_counts_its_own(
    searched: Api, counted: list[Event], clickhouse: ClickHouseStore
) -> None:
    """Whatever it asks for."""
    other = line("delivery", recipient_domain="theirs.example", subaccount_id="8", timestamp=str(BEGIN))
    await put(clickhouse, [other], seq=9)
    assert "theirs.example" in {row["domain"] for row in await ask(searched, "/domain")}
    searched.key = await searched.parts.keys.create("theirs", subaccount_id=7)
    own = by_hand([each for each in counted if each.get("subaccount_id") == "7"])
    lists = (await searched.call("GET", f"/api/v1/metrics/domains?from={FROM}&to={TO}")).body["results"]["domains"]
    assert set(lists) == {field(each, "domain") for each in counted if each.get("subaccount_id") == "7"}
    assert "theirs.example" not in lists
    [row] = await ask(searched, "")
    assert row == own
    [row] = await ask(searched, "", subaccounts="0")
    assert set(row.values()) == {0}
    [row] = await ask(searched, "", query_filters='{"groupings":[{"OR":{"subaccounts":{"eq":[7,0]}}}]}')
    assert row == own


async def test_a_key_needs_the_grant(searched: Api) -> None:
    """For every report and list."""
    searched.key = await searched.parts.keys.create("other", grants=frozenset({"events/view"}))
    for path in ("", "/domains", "/deliverability", "/deliverability/attempt", "/deliverability/query-filters-schema"):
        assert (await searched.call("GET", f"/api/v1/metrics{path}")).status == 403, path
    searched.key = await searched.parts.keys.create("viewer", grants=frozenset({"metrics/view"}))
    assert await ask(searched, "", metrics="count_sent") == [{"count_sent": 0}]


NIGHTS = {
    "America/New_York": datetime(2023, 11, 4, 23, tzinfo=ZoneInfo("America/New_York")),
    "Asia/Kolkata": datetime(2023, 11, 4, 23, tzinfo=ZoneInfo("Asia/Kolkata")),
    "Australia/Lord_Howe": datetime(2023, 4, 1, 23, tzinfo=ZoneInfo("Australia/Lord_Howe")),  # by half an hour
    "Europe/Berlin": datetime(2023, 10, 28, 23, tzinfo=ZoneInfo("Europe/Berlin")),
}
"""In which clocks go back, but in India."""


def part_of(begins: list[int], event: Event) -> int:
    """Which of the parts that begin then."""
    return bisect_right(begins, int(event["timestamp"])) - 1


@pytest.mark.parametrize("night", NIGHTS.values(), ids=NIGHTS)
async def test_parts_are_those_of_the_time_zone(night: datetime, searched: Api, clickhouse: ClickHouseStore) -> None:
    """Also when its clocks go back; an hour of half past tells its own messages apart."""
    shift = int(night.timestamp()) - BEGIN
    moved = [{**each, "timestamp": str(int(each["timestamp"]) + shift)} for each in decoded(mixed(400, seed=9))]
    await put(clickhouse, [orjson.dumps(each) for each in moved])
    window = {"from": f"{night:%Y-%m-%dT%H:%M}", "to": f"{night + timedelta(hours=5):%Y-%m-%dT%H:%M}"}
    for precision, unit_seconds in (("1min", 60), ("15min", 60), ("hour", 10**9), ("12hr", 0)):
        rows = await ask(searched, "/time-series", **window, timezone=str(night.tzinfo), precision=precision)
        begins = [int(datetime.fromisoformat(row["ts"]).timestamp()) for row in rows]
        assert begins == sorted(set(begins))
        assert [datetime.fromtimestamp(each, night.tzinfo).isoformat() for each in begins] == [
            row.pop("ts") for row in rows
        ]
        parts = grouped(moved, partial(part_of, begins))
        assert -1 not in parts
        if unit_seconds:
            assert rows == [by_hand(parts[number], unit_seconds) for number in range(len(rows))], precision
        else:
            assert sum(row["count_delivered"] for row in rows) == by_hand(moved)["count_delivered"]


def test_every_dimension_can_be_grouped() -> None:
    """None of the contract is out of reach."""
    assert set(DIMENSIONS) - {"bounce_class", "reason", "link_name"} == set(GROUPS.values())
