"""service: until when an effect may begin."""

import pytest

from omni_etl.clock import ManualClock
from omni_etl.errors import LeaseLapsedError
from omni_etl.service import Deadline


def test_at_the_deadline_it_is_too_late() -> None:
    """The moment itself belongs to the next holder; before it, any number of effects may begin."""
    clock = ManualClock()
    deadline = Deadline(clock, 2.0)
    clock.advance(1.999)
    deadline.check()
    deadline.check()
    clock.advance(0.001)
    with pytest.raises(LeaseLapsedError):
        deadline.check()
