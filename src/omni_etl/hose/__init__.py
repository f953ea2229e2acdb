"""Hose: takes events next to the mail server, keeps them, and brings them to the queue in envelopes."""

from omni_etl.hose.batcher import CutLimits
from omni_etl.hose.event_hose import EventHose, HoseLimits
from omni_etl.hose.intake import intake_app
from omni_etl.hose.requests import RememberLimits

__all__ = ["CutLimits", "EventHose", "HoseLimits", "RememberLimits", "intake_app"]
