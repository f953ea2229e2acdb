"""The hose on its queue."""

from __future__ import annotations

import random

from omni_etl.clock import SystemClock
from omni_etl.hose import CutLimits, EventHose, HoseLimits, RememberLimits
from omni_etl.settings import DAY_SECONDS, Settings
from omni_etl.wiring.queues import build_queue


def build_hose(settings: Settings) -> EventHose:
    """Everything of `omni hose` but its HTTP server."""
    clock = SystemClock()
    cuts = CutLimits(**{name: getattr(settings, name) for name in CutLimits.__dataclass_fields__})
    limits = HoseLimits(
        cuts=cuts,
        requests=RememberLimits(settings.requests_count_max, settings.requests_age_seconds_max),
        spool_bytes_max=settings.spool_bytes_max,
        spool_segment_bytes=settings.spool_segment_bytes,
        body_bytes_max=settings.intake_body_bytes_max,
        raw_bytes_max=settings.intake_raw_bytes_max,
        waiting_bytes_max=settings.intake_waiting_bytes_max,
        uncut_bytes_max=settings.intake_uncut_bytes_max,
        sends_in_flight_max=settings.sends_in_flight_max,
        event_age_seconds_max=settings.event_age_days_max * DAY_SECONDS,
    )
    return EventHose(
        queue=build_queue(settings, clock),
        clock=clock,
        rng=random.SystemRandom(),
        limits=limits,
        spool_dir=settings.spool_path,
    )
