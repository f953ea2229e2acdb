"""auditing.spans: which numbers there must be by now."""

from typing import Any

import pytest

from omni_etl.audit import HoseSaid, LaneSaid, Span, Window
from omni_etl.auditing.spans import spans_of

NOW_MS = 10_000_000_000
WINDOW = Window(NOW_MS - 86_400_000, NOW_MS - 3_600_000, NOW_MS - 300_000, NOW_MS)
NOTHING = LaneSaid(0, 0, 0, 0, closed=False)


def spans(bulk: LaneSaid, *, heard_seconds_ago: int = 10, empty: Any = ("bulk", "express")) -> list[Span]:
    """Of one hose."""
    said = HoseSaid("h", NOW_MS - heard_seconds_ago * 1000, 0, 0, {"express": NOTHING, "bulk": bulk})
    return spans_of([said], WINDOW, empty=empty)


def test_numbers_begin_behind_what_was_cut_before() -> None:
    """A lane in which nothing was cut since has none."""
    assert spans(LaneSaid(7, 9, 11, 12, closed=False)) == [Span("h", "bulk", 8, 11, 12)]
    assert spans(LaneSaid(12, 12, 12, 12, closed=False)) == []


@pytest.mark.parametrize(
    ("heard_seconds_ago", "closed", "empty", "settled"),
    [
        (10, False, ("bulk",), 11),  # drained, and its hose goes on
        (10, False, ("express",), 9),  # perhaps in the lane
        (1000, False, ("bulk",), 9),  # perhaps with its hose
        (1000, True, ("bulk",), 11),  # which has said its last word
    ],
)
def test_what_is_late_depends_on_where_it_may_be(
    heard_seconds_ago: int, *, closed: bool, empty: tuple[str, ...], settled: int
) -> None:
    """Five minutes where it can be nowhere any more, else an hour."""
    [span] = spans(LaneSaid(7, 9, 11, 12, closed=closed), heard_seconds_ago=heard_seconds_ago, empty=empty)
    assert span.settled == settled


def test_nothing_is_due_before_the_window() -> None:
    """A window shorter than an hour: everything in it may be late."""
    [span] = spans(LaneSaid(7, 3, 5, 12, closed=False), empty=())
    assert (span.low, span.settled) == (8, 7)
