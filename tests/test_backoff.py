"""backoff: how long to wait before try n."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_etl.backoff import Backoff


@given(tries=st.integers(1, 100_000), seed=st.integers())
def test_a_wait_is_between_half_and_all_of_its_step(tries: int, seed: int) -> None:
    """However often it was tried: the step doubles up to its limit, and no number overflows."""
    backoff = Backoff(first_seconds=0.5, factor=2.0, wait_seconds_max=15.0)
    step = min(15.0, 0.5 * 2.0 ** min(tries - 1, 60))
    assert step / 2 <= backoff.wait_seconds(tries, random.Random(seed)) <= step


def test_those_who_failed_together_part_ways() -> None:
    """The jitter uses the whole of its range."""
    rng = random.Random(1)
    waits = [Backoff(first_seconds=1.0).wait_seconds(1, rng) for _ in range(1_000)]
    assert min(waits) < 0.51
    assert max(waits) > 0.99


def test_the_first_failure_is_number_one() -> None:
    """Zero tries is a fault of ours."""
    with pytest.raises(AssertionError):
        Backoff().wait_seconds(0, random.Random(1))
