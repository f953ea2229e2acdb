"""The suppressions service on its list."""

from __future__ import annotations

from omni_etl.clock import SystemClock
from omni_etl.service import Service
from omni_etl.services.suppressions import Suppressions
from omni_etl.settings import Settings
from omni_etl.wiring.databases import build_suppression_list


def build(settings: Settings) -> Service:
    """Entry point `suppressions`."""
    return Suppressions(build_suppression_list(settings, SystemClock()))
