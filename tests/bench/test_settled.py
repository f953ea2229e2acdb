"""When a run of the benchmark counts, and when it is an error."""

import pytest
from bench.row import CountsError
from bench.settled import Landed


def test_what_is_missing_is_waited_for() -> None:
    """All of it in one place does not make up for another."""
    landed = Landed({"metrics open": 2, "metrics click": 1}, {"metrics open": 2, "metrics click": 2})
    assert not landed.is_all
    assert landed.share == 0.5
    assert Landed({"webhook events": 3}, {"webhook events": 3}).is_all


def test_what_is_too_much_is_an_error_at_once() -> None:
    """A double cannot hide behind a loss elsewhere."""
    with pytest.raises(CountsError, match="metrics open: 3 where 2 were sent"):
        _ = Landed({"metrics open": 3, "metrics click": 1}, {"metrics open": 2, "metrics click": 2}).is_all
