"""The parent's numbers; `settings.py` says what each means."""

from __future__ import annotations

from dataclasses import dataclass


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
