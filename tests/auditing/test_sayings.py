"""auditing.sayings: numbers as ranges; what it finds on real ledgers shows in test_steps."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from omni_etl.auditing.sayings import ranges


@given(st.frozensets(st.integers(1, 40)))
def test_neighbours_are_one_range(numbers: frozenset[int]) -> None:
    """All of the numbers, none twice, and no two ranges that touch."""
    found = ranges(numbers)
    assert [seq for first, last in found for seq in range(first, last + 1)] == sorted(numbers)
    assert all(second[0] > first[1] + 1 for first, second in pairwise(found))
