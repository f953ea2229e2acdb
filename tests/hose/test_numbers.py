"""hose.numbers: how far each lane has come."""

from omni_etl.hose.numbers import HoseNumbers


def test_numbers_of_one_lane_leave_the_other_alone_and_the_old_ones_as_they_were() -> None:
    """A failed commit needs no undoing, because nothing was changed in place."""
    before = HoseNumbers()
    after = before.accept("express", 3).accept("bulk", 10).cut("bulk", seq=1, events_to=7, closing=False)
    assert before == HoseNumbers()
    assert (after.accepted_count, after.last_seq) == (13, {"express": 0, "bulk": 1})
    assert (after.bulk.cut_to, after.express.cut_to) == (7, 0)


def test_a_hose_is_closed_when_both_lanes_are() -> None:
    """Only then may its id be forgotten."""
    half = HoseNumbers().cut("bulk", seq=1, events_to=0, closing=True)
    assert not half.closed
    assert half.cut("express", seq=1, events_to=0, closing=True).closed
