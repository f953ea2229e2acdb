"""rate: how many requests a second one key may make."""

from hypothesis import given
from hypothesis import strategies as st

from omni_etl.api.rate import Rate
from omni_etl.clock import ManualClock


def test_a_burst_then_one_after_another() -> None:
    """Whoever comes too early hears how long to wait, and may go then."""
    clock = ManualClock()
    rate = Rate(per_second=4, burst=3, clock=clock)
    assert [rate.wait_seconds("k") for _ in range(4)] == [0, 0, 0, 0.25]
    clock.advance(0.125)
    assert rate.wait_seconds("k") == 0.125
    clock.advance(0.125)
    assert [rate.wait_seconds("k") for _ in range(2)] == [0, 0.25]


def test_keys_do_not_share() -> None:
    """Each has its own."""
    rate = Rate(per_second=1, burst=1, clock=ManualClock())
    assert [rate.wait_seconds(key) for key in ("a", "b", "a")] == [0, 0, 1]


def test_quiet_earns_one_burst() -> None:
    """A key that was quiet for a day may not make a day's requests at once."""
    clock = ManualClock()
    rate = Rate(per_second=10, burst=5, clock=clock)
    rate.wait_seconds("k")
    clock.advance(86_400)
    assert sum(rate.wait_seconds("k") == 0 for _ in range(100)) == 5


def test_no_rate_is_no_limit() -> None:
    """As it comes."""
    rate = Rate(per_second=0, burst=1, clock=ManualClock())
    assert not any(rate.wait_seconds("k") for _ in range(1_000))


@given(
    per_second=st.sampled_from([0.5, 1.0, 8.0]),
    burst=st.integers(1, 10),
    pauses=st.lists(st.sampled_from([0, 0.0625, 0.5, 3.0]), max_size=60),
)
def test_no_time_sees_more_than_it_may(per_second: float, burst: int, pauses: list[float]) -> None:
    """In any stretch of time: its burst, and then so many a second."""
    clock = ManualClock()
    rate = Rate(per_second=per_second, burst=burst, clock=clock)
    gone: list[float] = []
    for pause in pauses:
        clock.advance(pause)
        if not rate.wait_seconds("k"):
            gone.append(clock.monotonic())
    for first, start in enumerate(gone):
        for last, end in enumerate(gone[first:], first):
            assert last - first + 1 <= burst + (end - start) * per_second
