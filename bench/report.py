"""Report: the one table, on the terminal and as docs/BENCHMARK.md, and bench/results.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.table import Table

from bench.bill import EVENTS_PER_DAY, usd_per_million_events
from bench.hose import BYTES_PER_EVENT, PER_CORE
from bench.outage import RESIDENT
from bench.result import Result, Results, ratio

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = ROOT / "docs" / "BENCHMARK.md"
RESULTS: Final = ROOT / "bench" / "results.json"
RATES: Final = (
    *("end_to_end_database", "end_to_end_sqs", "end_to_end_database_1mib", "end_to_end_sqs_1mib"),
    *("bare_limit", "bare_limit_1mib", "rabbitmq"),
)
COLUMNS: Final = ("row", "events/s", "slowest to fastest", "CPU, µs an event", "of the bare limit", "times RabbitMQ")

DELIVERED_PER_CORE: Final = "webhook_events_per_second_per_core"

PROSE: Final = """# Benchmark

Written by `make bench`; whoever runs it anew replaces it. Events are `omni demo`'s, {event_note}. Every fsync is on, every
run starts with empty engines, and a run whose counts do not agree (rows in message_events, the sum of metrics by type,
webhook events received, suppressions) is an error and no row. Everything shares the cores below: sender, customer and
engines too. Machines are not steady, so rows that are compared take turns, figures are medians, and ratios are taken round by
round within this run.
"""

EXPLAINED: Final = """
- **hose alone**: bulk posts over HTTP, durable before they are answered, cut, sealed and sent to a SQLite queue. CPU of the hose's process.
- **a service alone**: sealed envelopes in a SQLite queue, one parent, the one child, until the queue is empty again.
- **end to end**: from the first request until all four services are done, the customer has every event once, and the queue is empty.
  `sqs` speaks SQS's protocol to moto, a simulator in Python on the same cores, whose cost is in the row.
- **bare limit**: the same envelopes opened and inserted into the same two tables by as many inserters as gave the most, with nothing around
  it: no queue, no ledger question, no webhooks, no suppressions.
- **RabbitMQ**: what SparkPost left: one persistent message per event, confirms, a topic exchange, four durable queues, four consumers with
  the same four effects. Fewer events, because it takes its time.
- **queue away**: bulk posts at full rate while the queue cannot be reached, until the spool is full and the hose answers 503; then the queue
  comes back and everything accepted arrives.
"""


API_EXPLAINED: Final = """In ms, over HTTP, {events} events stored, while 10,000 a second come in: each kind of question but the last once a second, the
suppression check a thousand times a second, all at the same time and on the same cores. A question that waits for a connection
took as long as from the time at which it was due.
"""
DELIVERY_EXPLAINED: Final = """From the time at which an event was sent to the hose until its customer had it, in ms; a second of waiting for company in the
hose and one in the outbox included. A thousand webhooks of a subaccount each share {many_events:,} events ({many_rate:.0f} µs CPU of the deliverer an event,
{events_a_batch} events a batch). Then ten webhooks that each want everything, alone and beside ninety whose customers hang until
time-out: the p99 of the ten is {times:.2f} times what it was alone.
"""
BACKLOG_EXPLAINED: Final = """Nobody received for an hour of events. Then what was urgent of it was worked off in {urgent:.1f} s. From then on, from the
hose's 200 for a spam complaint to "suppressed" at the check, while {before:,} bulk envelopes waited at the beginning, {after:,} at the
end, and more came in as fast as the hose took them: p50 {p50:,.0f} ms, p99 {p99:,.0f} ms.
"""


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything of one run of the benchmark."""

    results: Results
    machine: Mapping[str, str]
    extras: Mapping[str, Any] = field(default_factory=dict)  # what is no row, under its names in results.json


def as_json(findings: Findings) -> dict[str, Any]:
    """What results.json holds; None where a row did not run, with the reason under `skipped`."""
    results = findings.results
    rates = {f"{key}_events_per_second": _median_rate(results.get(key)) for key in RATES}
    figures = {name: _figure(results, name) for name in (PER_CORE, BYTES_PER_EVENT, RESIDENT)}
    size = figures[BYTES_PER_EVENT]
    bill = {"usd_per_million_events": None} if size is None else usd_per_million_events(size)
    return {
        **rates,
        **figures,
        DELIVERED_PER_CORE: _delivered_per_core(results),
        **bill,
        **findings.extras,
        "ratios": _ratios(results),
        "skipped": {key: each.skipped.reason for key, each in results.items() if each.skipped is not None},
        "machine": dict(findings.machine),
        "rows": {key: _row_as_json(each) for key, each in results.items() if each.runs},
    }


def table(results: Results) -> Table:
    """For the terminal."""
    found = Table(*COLUMNS, title="Ratios are within this run", title_justify="left")
    found.columns[0].no_wrap = True
    for column in found.columns[1:]:
        column.justify = "right"
    for each in results.values():
        found.add_row(*_cells(each, results))
    return found


def page(findings: Findings) -> str:
    """For docs/BENCHMARK.md."""
    results, said = findings.results, as_json(findings)
    events = next((row.events for each in results.values() if (row := each.typical)), 0)
    return "\n".join(
        [
            PROSE.format(event_note=f"{events:,} of them a run where no other number stands"),
            *_markdown(COLUMNS, [_cells(each, results) for each in results.values()]),
            EXPLAINED,
            "## Single figures\n",
            *_markdown(("figure", "found"), _single_figures(said)),
            "\n## How long it takes\n",
            "From the hose's 200 to each service's effect, in ms, at shares of the end-to-end rate (database queue).\n",
            *_markdown(("% of the rate", "effect", "p50", "p99"), _latencies(said)),
            "\n## Delivery to many customers\n",
            _delivery_explained(said),
            *_markdown(("customers", "p50", "p99"), _delivery(said)),
            "\n## The API\n",
            API_EXPLAINED.format(events=f"{said.get('api_stored_events') or 0:,}"),
            *_markdown(("question", "p50", "p95", "p99"), _api(said)),
            "\n## A complaint behind a backlog\n",
            _backlog(said),
            "\n## What each process cost\n",
            "CPU microseconds an event, and the most resident memory in MiB, in the run in the middle.\n",
            *_markdown(("row", "process: µs (MiB)", "notes"), [_costs(each) for each in results.values() if each.runs]),
            "\n## The machine\n",
            *_markdown(("what", "which"), list(findings.machine.items())),
            "",
        ]
    )


def write(findings: Findings, *, at: Path = PAGE, numbers_at: Path = RESULTS) -> None:
    """Both files."""
    at.write_text(page(findings), encoding="utf-8")
    numbers_at.write_text(json.dumps(as_json(findings), indent=2) + "\n", encoding="utf-8")


def _cells(each: Result, results: Results) -> tuple[str, ...]:
    row = each.typical
    if row is None:
        return each.name, "skipped", each.skipped.reason if each.skipped is not None else "", "", "", ""
    slowest, fastest = min(each.rates), max(each.rates)
    spread = f"{slowest:,.0f} to {fastest:,.0f}" if len(each.runs) > 1 else ""
    of_bare = ratio(each, results.get(each.bare))
    of_rabbitmq = ratio(each, results.get("rabbitmq")) if each.bare else None
    return (
        each.name,
        f"{median(each.rates):,.0f}",
        spread,
        f"{row.cpu_us_per_event_total:.1f}",
        "" if of_bare is None else f"{of_bare:.2f}",
        "" if of_rabbitmq is None else f"{of_rabbitmq:.1f}",
    )


def _single_figures(said: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("hose, durable events a second of one core", _shown(said[PER_CORE], ",.0f")),
        ("bytes an event in the queue, as AWS counts", _shown(said[BYTES_PER_EVENT], ".1f")),
        ("hose, most resident memory while the queue was away, MiB", _shown(said[RESIDENT], ".0f")),
        (
            f"SQS, $ a million events at {EVENTS_PER_DAY:,.0f} a day (`omni cost`)",
            _shown(said["usd_per_million_events"], ".4f"),
        ),
        ("webhooks, events delivered a second of one core", _shown(said[DELIVERED_PER_CORE], ",.0f")),
        ("outbox, statements a batch", _shown(said.get("outbox_statements_per_batch"), ".2f")),
        (
            "two `omni run` on one queue, times as fast as one (suppressions and webhooks)",
            _shown(said.get("two_parents_ratio"), ".2f"),
        ),
        (
            "the same with one event a message",
            _shown(said.get("usd_per_million_events_one_event_messages"), ".2f"),
        ),
        (
            "the same with one event a message, ten to a call",
            _shown(said.get("usd_per_million_events_one_event_messages_batched"), ".2f"),
        ),
    ]


def _latencies(said: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    found = said.get("latency_ms") or {}
    return [
        (share, effect, f"{spans['p50']:,.0f}", f"{spans['p99']:,.0f}")
        for share, effects in found.items()
        for effect, spans in effects.items()
    ]


def _delivery(said: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    found = said.get("delivery")
    if found is None:
        return []
    spans = {
        "a thousand webhooks": found["thousand_webhooks"]["ms"],
        "ten, alone": found["healthy_alone_ms"],
        "ten, beside ninety who hang": found["healthy_beside_hanging_ms"],
    }
    return [(name, f"{each['p50']:,.0f}", f"{each['p99']:,.0f}") for name, each in spans.items()]


def _delivery_explained(said: Mapping[str, Any]) -> str:
    found = said.get("delivery")
    if found is None:
        return "Did not run.\n"
    many = found["thousand_webhooks"]
    return DELIVERY_EXPLAINED.format(
        many_events=many["events"],
        many_rate=many["cpu_us_per_event"],
        events_a_batch=many["events_a_batch"],
        times=found["healthy_beside_hanging_ms"]["p99"] / found["healthy_alone_ms"]["p99"],
    )


def _delivered_per_core(results: Results) -> float | None:
    """What the deliverer of the row with webhooks alone would do, had it a core for itself."""
    found = results.get("service_webhooks")
    cpu_us = found.typical.cpu_us_per_event.get("child webhooks") if found is not None and found.typical else None
    return None if not cpu_us else round(1e6 / cpu_us, 1)


def _api(said: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    found = said.get("api_ms") or {}
    return [
        (name.replace("_", " "), *(f"{spans[share]:,.1f}" for share in ("p50", "p95", "p99")))
        for name, spans in found.items()
    ]


def _backlog(said: Mapping[str, Any]) -> str:
    found = said.get("backlog")
    if found is None:
        return "Did not run.\n"
    spans = found["suppressed_ms"]
    return BACKLOG_EXPLAINED.format(
        urgent=found["urgent_backlog_seconds"],
        before=found["bulk_envelopes_before"],
        after=found["bulk_envelopes_after"],
        p50=spans["p50"],
        p99=spans["p99"],
    )


def _shown(value: float | None, form: str) -> str:
    return "did not run" if value is None else format(value, form)


def _costs(each: Result) -> tuple[str, ...]:
    row = each.typical
    assert row is not None, "only rows that ran are shown"
    ordered = sorted(row.cpu_us_per_event.items(), key=lambda item: -item[1])
    parts = [f"{name}: {cpu_us:.1f} ({row.resident_mib_max.get(name, 0):.0f})" for name, cpu_us in ordered]
    return row.name, ", ".join(parts), row.notes


def _markdown(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return ["| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines]


def _median_rate(each: Result | None) -> float | None:
    return None if each is None or not each.runs else round(median(each.rates), 1)


def _figure(results: Results, name: str) -> float | None:
    """The figure, from whichever row shows it; its median where that row ran more than once."""
    found = [row.figures[name] for each in results.values() for row in each.runs if name in row.figures]
    return round(median(found), 4) if found else None


def _ratios(results: Results) -> dict[str, dict[str, float | None]]:
    compared = [each for each in results.values() if each.bare]
    return {
        each.key: {
            "of_bare_limit": ratio(each, results.get(each.bare)),
            "times_rabbitmq": ratio(each, results.get("rabbitmq")),
        }
        for each in compared
    }


def _row_as_json(each: Result) -> dict[str, Any]:
    row = each.typical
    assert row is not None, "only rows that ran are shown"
    return {
        "name": each.name,
        "events": row.events,
        "events_per_second": [round(rate, 1) for rate in each.rates],
        "cpu_us_per_event": {name: round(value, 3) for name, value in row.cpu_us_per_event.items()},
        "resident_mib_max": {name: round(value, 1) for name, value in row.resident_mib_max.items()},
        "notes": row.notes,
    }
