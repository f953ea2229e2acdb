"""The suppressions service on its list."""

from __future__ import annotations

from omni_etl.backends.database.suppression_list import DatabaseSuppressionList
from omni_etl.clock import SystemClock
from omni_etl.service import Service
from omni_etl.services.suppressions import Suppressions
from omni_etl.settings import Settings
from omni_etl.wiring.databases import control_database


def build(settings: Settings) -> Service:
    """Entry point `suppressions`."""
    clock = SystemClock()
    return Suppressions(DatabaseSuppressionList(control_database(settings, clock), clock))
