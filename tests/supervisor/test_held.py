"""held: one lease and what is known of it."""

from tests.supervisor.leases import held

from omni_etl.supervisor.held import by_call


def test_missing_is_what_is_owed_and_not_marked() -> None:
    """Any mark counts, in whichever queue the envelope now lies."""
    subject = held(owed=["metrics", "webhooks", "suppressions"])
    subject.marks.update({"metrics": "done", "webhooks": "sided", "elsewhere": "done"})
    assert subject.missing() == {"suppressions"}


def test_only_the_lane_makes_it_express() -> None:
    """A siding's envelope is old, however it travelled first."""
    assert held(lane="express").is_express
    assert not held().is_express
    assert not held(lane="express", only="metrics").is_express


def test_two_leases_of_one_envelope_are_two() -> None:
    """A duplicate has its own history; the ledger makes the effect one."""
    first, second = held(1), held(1)
    assert first.key == second.key == "h-bulk-1"
    assert len({first, second}) == 2


def test_a_call_holds_leases_of_one_queue_and_no_more_than_it_may() -> None:
    """SQS takes a call for one queue; nothing is left out, and nothing at all makes no call."""
    bulk, express = [held(seq) for seq in range(1, 6)], held(9, lane="express")
    assert list(by_call([*bulk[:3], express, *bulk[3:]], 2)) == [bulk[:2], bulk[2:4], bulk[4:], [express]]
    assert list(by_call([], 2)) == []
