"""held: one lease and what is known of it."""

from tests.supervisor.leases import held


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
