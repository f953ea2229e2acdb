"""hose.recent: a look at the first digits never takes a time for younger than it is."""

import re

from hypothesis import given
from hypothesis import strategies as st

from omni_etl.hose.recent import ANY_TIME, times_since

NOW = 1_790_000_000
DAY_SECONDS = 86_400


@given(st.integers(1, 4_000 * DAY_SECONDS), st.integers(0, 3_999_999_999), st.integers(-(10**6), 10**6))
def test_what_is_too_old_never_matches(age_seconds: int, second: int, beside: int) -> None:
    """And what lies an age and more behind the limit always does."""
    pattern = re.compile(times_since(second, now=second + age_seconds))
    for time in (second - 1, second - 1 - abs(beside), second - 1 - age_seconds):
        assert time < 0 or not pattern.fullmatch(f'"{time:010}"')
    for time in (second + age_seconds, second + age_seconds + abs(beside)):
        assert time > 3_999_999_999 or pattern.fullmatch(f'"{time:010}"')


def test_nothing_else_matches() -> None:
    """What no time looks like is for the slow check."""
    patterns = [re.compile(each) for each in (times_since(NOW - 30 * DAY_SECONDS, now=NOW), ANY_TIME)]
    for text in ('""', '"179000000x"', '"17900000000"', "1790000000", '"-790000000"', '"1790000000.5"'):
        assert not any(pattern.fullmatch(text) for pattern in patterns)


def test_it_changes_once_a_day() -> None:
    """Of thirty days allowed; expressions are made anew each time."""
    seconds = range(NOW, NOW + 10 * DAY_SECONDS, 3_600)
    made = [times_since(now - 30 * DAY_SECONDS, now=now) for now in seconds]
    assert len(set(made)) <= 10
