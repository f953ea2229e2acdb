"""Service metrics: roll-ups per minute that answer every grouping of the metrics API."""

from omni_etl.services.metrics.service import Metrics

__all__ = ["Metrics"]
