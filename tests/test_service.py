"""service: until when an effect may begin."""

from typing import cast

import pytest

from omni_etl.clock import Clock, ManualClock
from omni_etl.errors import LeaseLapsedError
from omni_etl.service import Deadline


def test_at_the_deadline_it_is_too_late() -> None:
    """The moment itself belongs to the next holder; before it, any number of effects may begin."""
    clock = ManualClock()
    deadline = Deadline(clock, 2.0)
    clock.advance(1.999)
    deadline.check()
    assert deadline.check() == ManualClock().now() + 2.0
    clock.advance(0.001)
    with pytest.raises(LeaseLapsedError):
        deadline.check()


class SleptClock:
    """Of a machine that was suspended: the wall went on, the monotonic clock stood still."""

    def __init__(self) -> None:
        self.wall = 1000.0

    def now(self) -> float:
        """The wall."""
        return self.wall

    def monotonic(self) -> float:
        """Stands."""
        return 0.0


def test_a_machine_that_slept_does_not_gain_time() -> None:
    """The wall's deadline is the one of when the work came."""
    clock = SleptClock()
    deadline = Deadline(cast("Clock", clock), 2.0)
    clock.wall += 3600
    assert deadline.check() == 1002.0
