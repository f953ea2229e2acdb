"""Rate: how many requests a second one key may make of this process; the generic cell rate algorithm."""

from __future__ import annotations

from typing import Final

from omni_etl.clock import Clock

ROUNDING_SECONDS: Final = 1e-6


class Rate:
    """Each key has its own; `per_second` of 0 is no limit. Keys that exist are few, so none is ever forgotten."""

    def __init__(self, *, per_second: float, burst: int, clock: Clock) -> None:
        self._interval_seconds = 1 / per_second if per_second else 0.0
        self._ahead_seconds_max = self._interval_seconds * (burst - 1)
        self._clock = clock
        self._due: dict[str, float] = {}  # when the next request would be due if all came evenly

    def wait_seconds(self, key_id: str) -> float:
        """0 where a request may go on, which counts it; else how long it should have waited, which does not."""
        if not self._interval_seconds:
            return 0.0
        now = self._clock.monotonic()
        due = max(self._due.get(key_id, now), now)
        too_early_seconds = due - now - self._ahead_seconds_max
        if too_early_seconds > ROUNDING_SECONDS:
            return too_early_seconds
        self._due[key_id] = due + self._interval_seconds
        return 0.0
