"""api.metric_window: windows are rounded as the reference shows, and parts of a series cover them without gap or overlap."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_etl.api.metric_window import PRECISIONS, rounded, unsaid

ZONES = [
    "UTC",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Pacific/Apia",
    "Asia/Kathmandu",
]


@pytest.mark.parametrize(
    ("precision", "begin", "end"),
    [
        ("1min", "04:22", "06:37"),
        ("5min", "04:20", "06:40"),
        ("15min", "04:15", "06:45"),
        ("hour", "04:00", "07:00"),
        ("12hr", "00:00", "12:00"),
    ],
)
def test_windows_are_rounded_as_the_reference_shows(precision: str, begin: str, end: str) -> None:
    """For 04:22 to 06:37, in the time zone that was asked for."""
    zone = ZoneInfo("America/New_York")
    window = rounded(
        datetime(2026, 11, 5, 4, 22, tzinfo=zone),
        datetime(2026, 11, 5, 6, 37, tzinfo=zone),
        PRECISIONS[precision],
        zone,
    )
    assert (f"{window.begin:%H:%M}", f"{window.end:%H:%M}") == (begin, end)
    assert window.begin.utcoffset() == timedelta(hours=-5)


def test_days_weeks_and_months_are_utcs() -> None:
    """Whatever the time zone; weeks begin on Mondays."""
    zone = ZoneInfo("Asia/Kolkata")
    begin, end = datetime(2026, 2, 4, 4, 22, tzinfo=UTC), datetime(2026, 3, 1, 6, 37, tzinfo=UTC)
    days = {name: rounded(begin, end, PRECISIONS[name], zone) for name in ("day", "week", "month")}
    assert {name: (f"{each.begin:%m-%d}", f"{each.end:%m-%d}") for name, each in days.items()} == {
        "day": ("02-04", "03-02"),
        "week": ("02-02", "03-02"),
        "month": ("02-01", "04-01"),
    }
    assert all(each.begin.utcoffset() == timedelta() for each in days.values())


def test_what_ends_on_a_boundary_is_not_rounded_up() -> None:
    """The end is exclusive."""
    window = rounded(
        datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC), PRECISIONS["day"], ZoneInfo("UTC")
    )
    assert len(window.buckets()) == 1


def test_an_hour_that_comes_twice_is_there_twice() -> None:
    """When clocks go back; and one that is skipped is not there."""
    zone = ZoneInfo("Europe/Berlin")
    back = rounded(datetime(2026, 10, 25, tzinfo=zone), datetime(2026, 10, 26, tzinfo=zone), PRECISIONS["hour"], zone)
    forth = rounded(datetime(2026, 3, 29, tzinfo=zone), datetime(2026, 3, 30, tzinfo=zone), PRECISIONS["hour"], zone)
    assert (len(back.buckets()), len(forth.buckets())) == (25, 23)
    assert [each.isoformat() for each in back.buckets()][2:4] == [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:00:00+01:00",
    ]


@pytest.mark.parametrize(
    ("precision", "begin", "end", "parts"),
    [
        ("hour", "2026-11-01T04:00", "2026-11-01T06:00", ["00:00-0400", "01:00-0400"]),  # ends when it is one again
        ("15min", "2026-11-01T05:30", "2026-11-01T06:15", ["01:30-0400", "01:45-0400", "01:00-0500"]),
    ],
)
def test_a_window_may_end_where_an_hour_comes_again(precision: str, begin: str, end: str, parts: list[str]) -> None:
    """The clock on the wall shows the same then as before, and nothing is left out."""
    zone = ZoneInfo("America/New_York")
    at = [datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (begin, end)]
    window = rounded(at[0], at[1], PRECISIONS[precision], zone)
    assert [f"{each:%H:%M%z}" for each in window.buckets()] == parts


def test_a_window_holds_its_end_where_clocks_go_back_by_half_a_part() -> None:
    """One part more than the clock on the wall lets expect."""
    zone = ZoneInfo("Australia/Lord_Howe")
    end = datetime(2026, 4, 5, 1, 45, tzinfo=zone, fold=1)
    window = rounded(datetime(2026, 4, 5, tzinfo=zone), end, PRECISIONS["hour"], zone)
    assert [f"{each:%H:%M%z}" for each in window.buckets()] == ["00:00+1100", "01:00+1100", "01:30+1030"]
    assert window.seconds[1] >= end.timestamp()


def test_half_a_day_begins_once() -> None:
    """Also where midnight comes twice, or a whole day never came."""
    havana, apia = ZoneInfo("America/Havana"), ZoneInfo("Pacific/Apia")
    twice = datetime(2026, 11, 1, 0, 30, tzinfo=havana, fold=1)
    window = rounded(twice, twice + timedelta(hours=1), PRECISIONS["12hr"], havana)
    assert [each.isoformat() for each in window.buckets()] == ["2026-11-01T00:00:00-04:00"]
    assert window.begin.isoformat() == "2026-11-01T00:00:00-04:00"
    begin, end = datetime(2011, 12, 29, tzinfo=apia), datetime(2012, 1, 1, tzinfo=apia)
    assert [f"{each:%d %H}" for each in rounded(begin, end, PRECISIONS["12hr"], apia).buckets()] == [
        "29 00", "29 12", "31 00", "31 12",
    ]  # fmt: skip


@given(
    name=st.sampled_from(sorted(PRECISIONS)),
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    begin_s=st.integers(946_684_800, 2_114_380_800),
    minutes=st.integers(1, 48 * 60),
)
def test_parts_cover_the_window_once(name: str, zone: ZoneInfo, begin_s: int, minutes: int) -> None:
    """In order, from its beginning on, whatever clocks do; units of uniques begin with parts."""
    asked = datetime.fromtimestamp(begin_s // 60 * 60, UTC)
    end = asked + timedelta(minutes=minutes)
    window = rounded(asked, end, PRECISIONS[name], zone)
    begins = [int(each.timestamp()) for each in window.buckets()]
    assert begins == sorted(set(begins))
    assert begins[0] == window.seconds[0] <= asked.timestamp()
    assert begins[-1] < end.timestamp() <= window.seconds[1]
    assert begins == list(window.begins())
    units = window.units()
    if units is not None:  # each unit is in one part, or it is one at whose half hour the clocks were changed
        assert units[0] <= begins[0]
        assert set(begins) <= set(units) or "Lord_Howe" in zone.key


@pytest.mark.parametrize(
    ("hours", "name"),
    [(1, "1min"), (24, "1min"), (25, "15min"), (48, "15min"), (49, "hour"), (744, "hour"), (745, "day")],
)
def test_a_precision_that_is_not_said_is_the_finest_allowed(hours: int, name: str) -> None:
    """A window of a year is no error."""
    assert unsaid(timedelta(hours=hours)).name == name
