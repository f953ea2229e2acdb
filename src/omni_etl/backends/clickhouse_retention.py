"""Retention in ClickHouse: how long the tables keep rows, as TTLs of their own, which the engine sees to."""

from __future__ import annotations

import re
from string import Template
from typing import Any, Final

from omni_etl import sql
from omni_etl.store import LEDGER_DAYS, Retention

MARKERS_MORE_DAYS: Final = 2
"""By which markers of metrics outlive what a child still takes (`Keeping.kept_days`), as its clock and the engine's differ."""

_DAYS: Final = re.compile(r"toIntervalDay\((\d+)\)")


async def apply_retention(client: Any, retention: Retention) -> None:
    """Bring the tables to it, where they differ: to change a TTL makes the engine look at every part anew."""
    found = await client.query(sql.query("table_definitions"))
    standing = {str(name): [int(days) for days in _DAYS.findall(str(made))] for name, made in found.result_rows}
    for table, days in _days(retention).items():
        if standing.get(table) != [*days.values()]:
            # Whole numbers of ours, no text from outside: a TTL takes no parameters that would stay readable.
            statement = Template(sql.command(f"keep_{table}")).substitute(days)
            await client.command(statement)


def _days(retention: Retention) -> dict[str, dict[str, int]]:
    """By table, in the order in which they stand in its TTL: a row goes when its day of the cut and so many after it are over."""
    return {
        "message_events": {"events_days": retention.events_days + 1},
        "metrics": {
            "minutes_days": retention.minutes_days + 1,
            "markers_days": LEDGER_DAYS + MARKERS_MORE_DAYS,
            "hours_days": retention.hours_days + 1,
        },
    }
