"""api.metrics: every metric is what counting the events one by one gives, in every grouping, window and filter."""

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.counted_events import BEGIN, Event, by_hand, decoded, mixed, put
from tests.api.server import Api

from omni_etl.api.metric_formulas import EVERYWHERE, FORMULAS
from omni_etl.api.metrics import GROUPS, LISTS
from omni_etl.backends.clickhouse import ClickHouseStore
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


@pytest.fixture
async def counted(searched: Api, clickhouse: ClickHouseStore) -> list[Event]:
    """Events of three hours, in several envelopes."""
    lines = [mixed(400, seed=seed) for seed in range(3)]
    for seq, each in enumerate(lines, start=1):
        await put(clickhouse, each, seq=seq)
    return decoded([line for each in lines for line in each])


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


@pytest.mark.parametrize("name", [name for name in GROUPS if name != "subaccount"])
async def test_groups_are_what_counting_gives(name: str, searched: Api, counted: list[Event]) -> None:
    """By each dimension; largest first."""
    dimension = GROUPS[name]
    rows = await ask(searched, f"/{name}", precision="hour", order_by="count_targeted")
    found = {row.pop(dimension): row for row in rows}
    expected = {
        key: by_hand(events, 3600) for key, events in grouped(counted, lambda each: field(each, dimension)).items()
    }
    assert found == expected
    targeted = [row["count_targeted"] for row in rows]
    assert targeted == sorted(targeted, reverse=True)


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


async def test_query_filters(searched: Api, counted: list[Event]) -> None:
    """Groupings go together; in each, all or any; simple filters count no more."""
    said = {
        "groupings": [
            {"OR": {"campaigns": {"like": ["SPRING"]}, "templates": {"eq": ["t2"]}}},
            {"AND": {"campaigns": {"notLike": ["autumn"]}, "subaccounts": {"notEq": [8]}}},
        ]
    }
    [row] = await ask(searched, "", query_filters=json.dumps(said), domains="nowhere.example", precision="hour")
    among = [
        each
        for each in counted
        if ("spring" in field(each, "campaign_id").lower() or field(each, "template_id") == "t2")
        and field(each, "campaign_id") != "autumn"
        and field(each, "subaccount_id") != "8"
    ]
    assert row == by_hand(among, 3600)


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


@pytest.mark.parametrize("name", LISTS)
async def test_lists_name_what_events_named(name: str, searched: Api, counted: list[Event]) -> None:
    """In order, by a part of the name, so many."""
    query = {"from": FROM, "to": TO}
    found = (await searched.call("GET", f"/api/v1/metrics/{name}?{urlencode(query)}")).body["results"][name]
    dimension = LISTS[name]
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


async def test_a_subaccounts_key_counts_its_own(searched: Api, counted: list[Event]) -> None:
    """Whatever it asks for."""
    searched.key = await searched.parts.keys.create("theirs", subaccount_id=7)
    own = by_hand([each for each in counted if each.get("subaccount_id") == "7"])
    lists = (await searched.call("GET", f"/api/v1/metrics/domains?from={FROM}&to={TO}")).body["results"]["domains"]
    assert set(lists) == {field(each, "domain") for each in counted if each.get("subaccount_id") == "7"}
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


async def test_everything_wrong_is_told_at_once(searched: Api) -> None:
    """An error for each rule, with its parameter."""
    query = "metrics=count_x&precision=2min&limit=0&timezone=Mars&order_by=y&subaccounts=a"
    answer = await searched.call("GET", f"/api/v1/metrics/deliverability/domain?{query}")
    assert answer.status == 400
    wrong = ["timezone", "precision", "from", "metrics", "order_by", "limit", "subaccounts"]
    assert [each["param"] for each in answer.body["errors"]] == wrong
    assert answer.body["links"]
    answer = await searched.call("GET", "/api/v1/metrics/domains?from=x&to=y&limit=0&timezone=Mars")
    assert [each["param"] for each in answer.body["errors"]] == ["timezone", "from", "to", "limit"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"metrics": "count_sent"}, "from is required"),
        ({"from": "yesterday", "metrics": "count_sent"}, "from must be in the format YYYY-MM-DDTHH:MM"),
        ({"from": TO, "to": FROM, "metrics": "count_sent"}, "from must be before to"),
        ({"from": "2020-01-01T00:00", "metrics": "count_sent", "precision": "hour"}, "31 days"),
        ({"from": "1800-01-01T00:00", "metrics": "count_sent"}, "between"),
        ({"from": FROM}, "metrics is required"),
        ({"from": FROM, "metrics": "count_sent", "subaccounts": "0" * 5000 + "x"}, "must be numbers"),
        ({"from": FROM, "metrics": "count_sent", "subaccounts": "9" * 5000}, "must be numbers"),
        ({"from": FROM, "metrics": "count_sent", "subaccounts": "2147483648"}, "must be numbers"),
    ],
)
async def test_a_broken_rule_is_named(query: dict[str, str], message: str, searched: Api) -> None:
    """In the words that clients know."""
    answer = await searched.call("GET", f"/api/v1/metrics/deliverability?{urlencode(query)}")
    assert answer.status == 400
    assert message in answer.error


async def test_a_report_takes_no_notice_of_what_is_not_its_parameter(searched: Api, counted: list[Event]) -> None:
    """As with any parameter that nobody knows; a number may have any zeros before it."""
    for path, query in (
        ("", {"limit": "x", "order_by": "y"}),
        ("/time-series", {"limit": "x", "order_by": "y"}),
        ("/attempt", {"limit": "x", "order_by": "y", "metrics": "z"}),
        ("/delay-reason", {"order_by": "y", "metrics": "z"}),
        ("/link-name", {"order_by": "y", "metrics": "count_clicked"}),
    ):
        assert isinstance(await ask(searched, path, **query), list), path
    assert await ask(searched, "", subaccounts="0" * 5000 + "7") == await ask(searched, "", subaccounts="7")


async def test_a_series_has_a_limit(searched: Api) -> None:
    """It is refused before it is counted; a sum of the same years is no trouble."""
    years = {"from": "1971-01-01T00:00", "to": "2099-12-01T00:00"}
    for precision in ("12hr", "day"):
        refused = await ask(searched, "/time-series", **years, precision=precision)
        assert refused["errors"] == [{"message": "a series may have 10000 parts", "param": "precision"}]
    assert len(await ask(searched, "/time-series", **years, precision="week")) < 10_000
    assert len(await ask(searched, "", **years, precision="day")) == 1
    long = {"from": "2010-06-01T00:00", "to": "2023-11-16T00:00", "timezone": "Europe/Berlin"}
    assert len(await ask(searched, "/time-series", **long, precision="12hr")) == 2 * 4916


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Europe/Berlin"])
@pytest.mark.parametrize("precision", ["1min", "15min", "hour", "12hr"])
async def test_parts_are_those_of_the_time_zone(
    zone: str, precision: str, searched: Api, clickhouse: ClickHouseStore
) -> None:
    """Also in the night in which its clocks go back; hours of half past count their own messages."""
    place = ZoneInfo(zone)
    night = {"Australia/Lord_Howe": datetime(2023, 4, 1, 23, tzinfo=place)}.get(
        zone,
        datetime(2023, 11, 4, 23, tzinfo=place) if zone.startswith("A") else datetime(2023, 10, 28, 23, tzinfo=place),
    )
    begin = int(night.timestamp())
    moved = [{**each, "timestamp": str(int(each["timestamp"]) - BEGIN + begin)} for each in decoded(mixed(400, seed=9))]
    await put(clickhouse, [orjson.dumps(each) for each in moved])
    window = {"from": f"{night:%Y-%m-%dT%H:%M}", "to": f"{night + timedelta(hours=5):%Y-%m-%dT%H:%M}"}
    rows = await ask(searched, "/time-series", **window, timezone=zone, precision=precision)
    begins = [int(datetime.fromisoformat(row["ts"]).timestamp()) for row in rows]
    assert begins == sorted(set(begins))
    assert [datetime.fromtimestamp(each, place).isoformat() for each in begins] == [row.pop("ts") for row in rows]
    parts = grouped(moved, lambda each: bisect_right(begins, int(each["timestamp"])) - 1)
    assert -1 not in parts
    unit_seconds = {"hour": 10**9, "12hr": 3600 if place.utcoffset(night).seconds % 3600 == 0 else None}.get(
        precision, 60
    )
    if unit_seconds is not None:
        assert rows == [by_hand(parts[number], unit_seconds) for number in range(len(rows))]


@pytest.mark.parametrize(
    "said",
    ["{", "[]", "{}", '{"groupings":[{}]}', '{"groupings":[{"AND":{}}]}', '{"groupings":[{"XOR":{}}]}',
     '{"groupings":[{"AND":{"domains":{}}}]}', '{"groupings":[{"AND":{"domains":{"eq":[]}}}]}',
     '{"groupings":[{"AND":{"domains":{"like":["ab"]}}}]}', '{"groupings":[{"AND":{"colours":{"eq":["a"]}}}]}',
     '{"groupings":[],"more":1}', '{"groupings":[{"AND":{"domains":{"eq":["a"]}},"OR":{"domains":{"eq":["a"]}}}]}',
     "[" * 5000],
)  # fmt: skip
async def test_query_filters_that_break_the_schema_are_refused(said: str, searched: Api) -> None:
    """With details in `validationErrors`."""
    path = f"/api/v1/metrics/deliverability?from={FROM}&metrics=count_sent&query_filters={quote(said)[:60_000]}"
    answer = await searched.call("GET", path)
    assert answer.status == 400, answer.body
    assert answer.body["errors"][0]["param"] == "query_filters"
    assert answer.body["validationErrors"]


async def test_texts_from_outside_are_no_statements(searched: Api, counted: list[Event]) -> None:
    """Quotes, braces and backslashes are compared, not run."""
    for text in ("' OR 1=1 --", "{x:String}", "\\", "$source", "%s", "\x00", "a'b"):
        for filters in ({"domains": text}, {"domains": text, "campaigns": text}):
            found = await ask(searched, "", metrics="count_injected", **filters)
            assert found == [{"count_injected": 0}], (filters, found)


def test_every_dimension_can_be_grouped() -> None:
    """None of the contract is out of reach."""
    assert set(DIMENSIONS) - {"bounce_class", "reason", "link_name"} == set(GROUPS.values())
