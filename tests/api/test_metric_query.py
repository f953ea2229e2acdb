"""api.metric_query: everything that is wrong with a question is told at once; what is not its own is left alone."""

from urllib.parse import urlencode

from tests.api.counted_events import Event
from tests.api.server import Api
from tests.api.test_metrics import FROM, TO, ask


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


BROKEN: list[tuple[dict[str, str], str]] = [
    ({"metrics": "count_sent"}, "from is required"),
    ({"from": "yesterday", "metrics": "count_sent"}, "from must be in the format YYYY-MM-DDTHH:MM"),
    ({"from": TO, "to": FROM, "metrics": "count_sent"}, "from must be before to"),
    ({"from": "2020-01-01T00:00", "metrics": "count_sent", "precision": "hour"}, "31 days"),
    ({"from": "1800-01-01T00:00", "metrics": "count_sent"}, "between"),
    ({"from": FROM}, "metrics is required"),
    ({"from": FROM, "metrics": "count_sent", "subaccounts": "0" * 5000 + "x"}, "must be numbers"),
    ({"from": FROM, "metrics": "count_sent", "subaccounts": "9" * 5000}, "must be numbers"),
    ({"from": FROM, "metrics": "count_sent", "subaccounts": "2147483648"}, "must be numbers"),
]


async def test_a_broken_rule_is_named(searched: Api) -> None:
    """In the words that clients know."""
    for query, message in BROKEN:
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
