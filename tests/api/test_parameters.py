"""api.parameters: lists and times in every spelling that clients send."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from omni_etl.api.parameters import Parameters
from omni_etl.api.problems import Problem


@pytest.mark.parametrize(
    "items",
    [
        [("types", "a,b")],
        [("types", "a"), ("types", "b")],
        [("types[0]", "a"), ("types[1]", "b")],
        [("types[]", "a"), ("types[]", "b")],
        [("types", "a;b"), ("delimiter", ";")],
        [("types", "a,,b,"), ("unknown", "c")],
    ],
)
def test_a_list_has_many_spellings(items: list[tuple[str, str]]) -> None:
    """Comma, repeated, qs and PHP; empty parts are none."""
    assert Parameters(items).listed("types") == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    ["2026-11-25T09:00", "2026-11-25T09:00:00", "2026-11-25T09:00:00Z", "2026-11-25T09:00:00.000Z", "2026-11-25T09:00+0000",
     "2026-11-25T09:00:00 0000", "2026-11-25T05:00-0400", "2026-11-25T10:00:00+01:00", "2026-11-25 09:00"],
)  # fmt: skip
def test_a_time_has_many_spellings(text: str) -> None:
    """A plus that was not escaped included; without a zone it is UTC."""
    assert Parameters([("from", text)]).moment("from") == datetime(2026, 11, 25, 9, tzinfo=UTC)


def test_a_time_without_a_zone_is_in_the_one_asked_for() -> None:
    """And comes out in UTC; a day alone is its midnight."""
    zone = ZoneInfo("America/New_York")
    assert Parameters([("from", "2026-11-25")]).moment("from", zone) == datetime(2026, 11, 25, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-13-01T00:00", "2026-11-25T25:00", "0001-01-01T00:00+23:59", "1764000000"]
)
def test_what_is_no_time_is_refused_by_name(text: str) -> None:
    """With the parameter and the format."""
    with pytest.raises(Problem) as refused:
        Parameters([("from", text)]).moment("from")
    assert (refused.value.status, refused.value.errors[0]["param"]) == (400, "from")


@pytest.mark.parametrize("text", ["x", "0", "10001", "1.5", "-1", "99999999999", "\uff11"])
def test_what_is_no_number_in_range_is_refused(text: str) -> None:
    """With the range."""
    with pytest.raises(Problem):
        Parameters([("limit", text)]).number("limit", default=1, least=1, most=10_000)


def test_absent_is_the_default() -> None:
    """An empty value counts as absent."""
    parameters = Parameters([("limit", "")])
    assert parameters.number("limit", default=7, least=1, most=10) == 7
    assert parameters.text("limit") is None
    assert parameters.moment("limit") is None
    assert parameters.listed("limit") == []
