"""Afterwards: what is no row, because it compares with itself or needs the rate that the rows have just found."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from rich.console import Console

from bench import api, backlog, delivery, latency, two_parents
from bench.corpus import corpus
from bench.plan import Scale
from bench.result import Results
from bench.statements import per_batch as statements_per_batch

STATEMENTS_EVENTS: Final = 60_000
RATE_FROM: Final = "end_to_end_database"


async def run(groups: Sequence[str], results: Results, scale: Scale, console: Console) -> dict[str, Any]:
    """Figures under their names in results.json; None where one could not be had.

    Raises:
        CountsError: something was lost or doubled.

    """
    found: dict[str, Any] = {}
    if "two_parents" in groups:
        load = corpus(min(scale.events, two_parents.EVENTS))
        with console.status("two_parents"):
            found |= await two_parents.compare(load, services=two_parents.SERVICES, rounds=scale.rounds)
        console.print(f"two_parents: {found['two_parents_ratio']:.2f} times as fast as one", highlight=False)
    if "latency" in groups:
        found |= await _latency(results, scale, console)
    if "delivery" in groups:
        with console.status("delivery: statements"):
            statements = await statements_per_batch(corpus(min(scale.events, STATEMENTS_EVENTS)))
        delivered = await delivery.measure(scale.delivery_seconds, console)
        console.print(delivered, highlight=False)
        found |= delivered | {"outbox_statements_per_batch": statements}
    if "api" in groups:
        asked = await api.measure(scale.api_events, scale.api_seconds, console)
        console.print(api.table(asked))
        found |= asked
    if "backlog" in groups:
        waited = await backlog.measure(scale.backlog_events, console)
        console.print(waited, highlight=False)
        found |= waited
    return found


async def _latency(results: Results, scale: Scale, console: Console) -> dict[str, Any]:
    rated = results.get(RATE_FROM)
    if rated is None or not rated.runs:
        console.print("latency: skipped, because it needs the rate of the end_to_end rows of the same run")
        return {"latency_ms": None}
    rate = median(rated.rates)
    with console.status(f"latency at shares of {rate:,.0f} events/s"):
        found = await latency.measure(rate, scale.latency_seconds)
    console.print(latency.table(found))
    return latency.results(found)
