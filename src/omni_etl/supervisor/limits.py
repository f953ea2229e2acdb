"""The parent's numbers; `settings.py` says what each means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ANSWER_SECONDS_MAX: Final = 600.0
ANSWER_LEASES_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class SupervisorLimits:
    """One field a setting of the same name."""

    lease_seconds: int
    leases_max: int
    child_slots: int
    wait_beyond_others_seconds: float
    applications_max: int
    dead_share_max: float
    dead_count_min: int
    circuit_wait_seconds_max: float

    @property
    def answer_seconds_max(self) -> float:
        """A child that holds one envelope for longer is stuck, however well its loop turns; many leases' time, too."""
        return max(ANSWER_SECONDS_MAX, ANSWER_LEASES_MAX * self.lease_seconds)
