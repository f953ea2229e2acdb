"""audit: times as people write them, and the days that are read."""

from datetime import UTC, date, datetime

import pytest

from omni_etl.audit import Window, parse_since

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "ago_seconds"),
    [
        ("90m", 5_400),
        ("24h", 86_400),
        ("7d", 604_800),
        ("2026-03-10T11:00", 3_600),
        ("2026-03-10T11:00+01:00", 7_200),
        ("2026-03-10", 43_200),
    ],
)
def test_since_is_a_time_or_so_long_ago(text: str, ago_seconds: int) -> None:
    """Without a zone it is UTC, as everything here."""
    assert parse_since(text, now=NOW) == (NOW - ago_seconds) * 1000


@pytest.mark.parametrize("text", ["", "h", "24", "1w", "yesterday", "-1h", "24h ", "2026-13-01"])
def test_what_is_neither_is_refused(text: str) -> None:
    """Never taken for something else."""
    assert parse_since(text, now=NOW) is None


def test_longer_ago_than_time_itself_is_its_beginning() -> None:
    """No error at night; nor is what lies ahead."""
    for text in ("999999d", "0001-01-01", "1900-01-01"):
        assert parse_since(text, now=NOW) == 0
    assert parse_since("9999-12-31", now=NOW) == NOW * 1000
    assert Window(0, 0, 0, int(NOW * 1000)).first_day == date(1970, 1, 1)


def test_the_days_that_are_read() -> None:
    """A day more of headers, for what was said before; of rows only those that are surely kept."""
    now_ms = int(NOW * 1000)
    window = Window(now_ms - 86_400_000, 0, 0, now_ms)
    assert (window.first_day, window.first_rows_day) == (date(2026, 3, 8), date(2026, 3, 9))
    window = Window(now_ms - 30 * 86_400_000, 0, 0, now_ms)
    assert window.first_rows_day == date(2026, 3, 4)
