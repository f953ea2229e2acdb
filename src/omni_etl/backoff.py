"""How long to wait before try n: one pure function."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waits with equal jitter (AWS Architecture Blog, 2015), so that many who failed together part ways."""

    first_seconds: float = 0.1
    factor: float = 2.0
    wait_seconds_max: float = 30.0

    def wait_seconds(self, tries: int, rng: random.Random) -> float:
        """Seconds to wait after `tries` failures (1 = the first); between half and all of the exponential step."""
        assert tries >= 1, tries
        step = min(self.wait_seconds_max, self.first_seconds * self.factor ** min(tries - 1, 60))
        return step * (0.5 + rng.random() / 2)
