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


def test_a_lane_that_owes_events_is_open_again_from_there_on() -> None:
    """Though it was closed; one that owes only what comes next stays as far as it was."""
    closed = HoseNumbers().accept("bulk", 9).cut("bulk", seq=2, events_to=9, closing=True)
    assert (closed.owe("bulk", 4).bulk.cut_to, closed.owe("bulk", 4).bulk.closed) == (3, False)
    assert closed.owe("bulk", 10).bulk.cut_to == 9


def test_numbers_that_may_have_been_used_are_skipped_in_both_lanes() -> None:
    """Nobody knows in which lane a lost envelope was."""
    assert HoseNumbers().cut("bulk", seq=2, events_to=9, closing=False).skip(3).last_seq == {"express": 3, "bulk": 5}
