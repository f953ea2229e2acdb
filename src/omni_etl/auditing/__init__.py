"""Auditing: read queues, the database and ledgers, and account for every number that was cut. The steps: `steps`."""

from omni_etl.auditing.steps import Auditing, AuditParts

__all__ = ["AuditParts", "Auditing"]
