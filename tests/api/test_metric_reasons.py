"""api.metric_reasons: why mail bounced, was rejected or delayed, and at which attempt it came through."""

from collections import Counter
from typing import Any

import pytest
from tests.api.counted_events import ADMIN, BLOCK, HARD, SOFT, Event, by_hand, category, is_first, mixed, put
from tests.api.counted_events import decoded as read
from tests.api.server import Api
from tests.api.test_metrics import ask, field

from omni_etl.api.metric_reasons import DESCRIPTIONS
from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.bounce import CLASSES

METRICS = "count_bounce,count_inband_bounce,count_outofband_bounce,count_admin_bounce"


@pytest.fixture
async def counted(searched: Api, clickhouse: ClickHouseStore) -> list[Event]:
    """Events of three hours."""
    lines = mixed(900, seed=5)
    await put(clickhouse, lines)
    return read(lines)


def bounce_class(event: Event) -> str:
    """One that is known."""
    code = event.get("bounce_class", "")
    return code if code in HARD | SOFT | BLOCK | ADMIN else "1"


@pytest.mark.parametrize(
    ("path", "by"),
    [
        ("/bounce-classification", ()),
        ("/bounce-reason", ("reason",)),
        ("/bounce-reason/domain", ("reason", "domain")),
    ],
)
async def test_bounces(path: str, by: tuple[str, ...], searched: Api, counted: list[Event]) -> None:
    """By class, and by what was said; Admin bounces are bounces in their own column only."""
    rows = await ask(searched, path, metrics=METRICS)
    found = {}
    for row in rows:
        key = (str(row["classification_id"]), *(row[name] for name in by))
        found[key] = tuple(row[name] for name in METRICS.split(","))
        name, of = CLASSES[key[0]]
        assert (row["bounce_class_name"], row["bounce_category_name"]) == (name, of.capitalize())
        assert row["bounce_class_description"] == DESCRIPTIONS[key[0]]
        assert row["bounce_category_id"] == ["undetermined", "hard", "soft", "block", "admin"].index(of)
    bounces = [each for each in counted if each["type"] in {"bounce", "out_of_band"}]
    expected: dict[Any, Any] = {}
    for event in bounces:
        expected.setdefault((bounce_class(event), *(field(event, name) for name in by)), []).append(event)
    assert found == {
        key: tuple(by_hand(events)[name] for name in METRICS.split(",")) for key, events in expected.items()
    }
    assert len(found) == len(rows)
    assert {category(each) for each in bounces} == {"undetermined", "hard", "soft", "block", "admin"}


@pytest.mark.parametrize(("path", "by"), [("", ("reason",)), ("/domain", ("reason", "domain"))])
async def test_rejections(path: str, by: tuple[str, ...], searched: Api, counted: list[Event]) -> None:
    """By reason and kind, under both names of the kind."""
    rows = await ask(searched, f"/rejection-reason{path}")
    kinds = {"policy_rejection": 1, "generation_failure": 2, "generation_rejection": 2}
    expected = Counter(
        (kinds[each["type"]], *(field(each, name) for name in by)) for each in counted if each["type"] in kinds
    )
    assert {
        (row["rejection_category_id"], *(row[name] for name in by)): row["count_rejected"] for row in rows
    } == expected
    for row in rows:
        assert row["rejection_type"] == row["rejection_category_name"]
        assert row["rejection_type"] == {1: "Policy Rejection", 2: "Generation Rejection"}[row["rejection_category_id"]]
    assert len(await ask(searched, f"/rejection-reason{path}", limit=2)) == 2


@pytest.mark.parametrize(("path", "by"), [("", ("reason",)), ("/domain", ("reason", "domain"))])
async def test_delays(path: str, by: tuple[str, ...], searched: Api, counted: list[Event]) -> None:
    """All, and those of the first attempt."""
    rows = await ask(searched, f"/delay-reason{path}")
    delays = [each for each in counted if each["type"] == "delay"]
    every = Counter(tuple(field(each, name) for name in by) for each in delays)
    first = Counter(tuple(field(each, name) for name in by) for each in delays if is_first(each))
    assert {tuple(row[name] for name in by): row["count_delayed"] for row in rows} == every
    assert {
        key: row["count_delayed_first"] for row in rows if (key := tuple(row[name] for name in by)) in first
    } == first


async def test_attempts(searched: Api, counted: list[Event]) -> None:
    """The first, the second, and all later ones together."""
    expected: Counter[str] = Counter()
    for event in counted:
        if event["type"] == "delivery":
            text = event.get("num_retries") or "0"
            expected["3+" if text.isdigit() and int(text) > 1 else "2" if text == "1" else "1"] += 1
    rows = await ask(searched, "/attempt")
    assert {row["attempt"]: row["count_delivered"] for row in rows} == expected
    assert [row["attempt"] for row in rows] == ["1", "2", "3+"]


async def test_links(searched: Api, counted: list[Event]) -> None:
    """By name, or address; raw clicks count a recipient once."""
    rows = await ask(searched, "/link-name", metrics="count_clicked,count_raw_clicked", precision="day")
    clicks = [each for each in counted if each["type"] == "click"]
    links: dict[str, list[Event]] = {}
    for event in clicks:
        links.setdefault(event.get("target_link_name") or event["target_link_url"], []).append(event)
    assert {row["link_name"]: (row["count_clicked"], row["count_raw_clicked"]) for row in rows} == {
        name: (len(events), by_hand(events, 86400)["count_unique_clicked"]) for name, events in links.items()
    }
    answer = await searched.call(
        "GET", "/api/v1/metrics/deliverability/link-name?from=2023-11-14T22:00&metrics=count_sent"
    )
    assert answer.status == 400


async def test_nothing_counted_is_no_row(searched: Api) -> None:
    """Of an empty store."""
    for path in ("/attempt", "/delay-reason", "/rejection-reason", "/domain"):
        assert await ask(searched, path, metrics="count_injected") == []
