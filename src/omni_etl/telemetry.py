"""Everything we say: each log line and each number, by name, with a sentence. People build alarms on these names.

A log call uses a name listed in `LINES`; `tests/test_tidy.py` compares.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LINES: Final[dict[str, str]] = {
    # hose
    "hose_started": "The hose listens; with its address, id and what it found in its spool.",
    "hose_stopped": "The hose has closed its id; what is left in the spool goes out at the next start.",
    "hose_recovered": "The spool of an earlier start was read; with what will be resent and cut.",
    "hose_spool_failed": "The disk refused a write or an fsync; the segment was ended and producers are told 503.",
    "hose_spool_damaged": "A record in the middle of the spool is damaged; the rest of that segment was set aside. Call someone.",
    "hose_spool_full": "The spool is at its limit; producers are told 503 until the queue takes envelopes again.",
    "hose_queue_away": "The queue does not take envelopes; the spool grows, sends are tried again by themselves.",
    "hose_queue_back": "The queue takes envelopes again.",
    "hose_entry_refused": "The queue refused one envelope of a batch; it is sent again.",
    # supervisor
    "run_started": "The parent receives; with its services.",
    "run_stopping": "A signal or a lost starter: the parent takes no more and finishes what it can.",
    "run_stopped": "The parent has gone; with what was given back.",
    "run_waiting": "An engine the parent cannot start without is away; it tries again by itself.",
    "run_failed": "The parent's loop met an error of our own; it is logged whole and the process ends.",
    "queue_away": "The queue does not answer the parent; it tries again by itself.",
    "queue_back": "The queue answers again.",
    "tracker_away": "The tracker does not answer; the parent goes on by the ledgers alone.",
    "tracker_back": "The tracker answers again.",
    "registry_away": "The database does not answer the parent; the services known so far are assumed.",
    "registry_back": "The database answers again.",
    "child_started": "A child is ready; with its service and pid.",
    "child_died": "A child ended unasked; it is replaced and its envelopes are handed out again.",
    "child_stuck": "A child has held an envelope for longer than ten minutes without an answer; it is killed and replaced.",
    "child_unready": "A child never became ready: its code or its settings cannot start, so the parent stops.",
    "circuit_opened": "A service's engine is away; its envelopes wait, then go to its siding.",
    "circuit_closed": "The engine is back; the service takes envelopes again.",
    "envelope_sided": "An envelope waited too long for one service and lies in its siding.",
    "envelope_dead": "An envelope was given up by one service; with the reason. Look at it.",
    "envelope_newer": "Envelopes of a newer version or codec arrive; they wait in the queue. Upgrade this parent.",
    "envelopes_unreadable": "Too many entries cannot be opened; the rest wait in the queue. Call someone.",
    "envelope_retried": "One application failed; the envelope is tried again.",
    "id_conflict": "Two envelopes with one key and different checksums: a promise is broken. Call someone.",
    "audit_found": "The audit found envelopes missing or events doubled; with the first of them. Call someone: omni audit.",
    "audit_waiting": "The audit cannot look: an engine is away, or a queue is not there; it tries again by itself.",
    "audit_failed": "The audit met an error of our own; logged whole, it tries again by itself.",
    # children
    "service_started": "The service inside a child reached its engine.",
    "service_waiting": "The service's engine is away at start; it tries again by itself.",
    "envelope_expired": "An envelope came so late that the store would not keep it, or not know it again; done without its rows.",
    "service_failed": "A service raised an error of our own; logged whole, the envelope is tried again.",
    # webhooks
    "webhook_attempt_failed": "A customer's server did not take a batch; with the time of the next attempt.",
    "webhook_batch_given_up": "A batch was tried until the end of its schedule and given up.",
    "webhook_events_dropped": "Events of a webhook were dropped: its backlog was full or too old, or it was deleted.",
    "webhook_guard_open": "OMNI_WEBHOOKS_ALLOW_NETWORKS allows every address: customers' webhooks may reach what is inside.",
    "webhook_failing": "A webhook has not taken a batch for an hour, a day or three; after five days it is stopped.",
    "webhook_stopped": "A webhook gets no more attempts, its events are kept: omni webhooks resume ID.",
    "webhook_replayed": "A replay is over: the events of a time range went to the outbox once more.",
    "webhook_replay_waiting": "A replay cannot go on: the event store or the database is away; it goes on by itself.",
    "webhook_delivery_waiting": "The outbox does not answer; delivery goes on by itself when it is back.",
    # database
    "queue_envelopes_expired": "Envelopes lay in a queue longer than it keeps them and are gone. Call someone.",
    # sqs
    "queue_clock_skewed": "Our clock and the queue's are more than a minute apart; from five on SQS refuses us. See to the clock.",
    "queue_entry_damaged": "An entry did not match its checksum on arrival; it is left to lapse and comes again.",
    # embedded
    "store_started": "The embedded store listens; with its address.",
    "store_stopped": "The embedded store has gone.",
    "store_query_failed": "A query failed; with ClickHouse's code.",
    "store_sync_failed": "A directory of the store could not be synced; the store ends and is started again. See to the disk.",
    "store_write_failed": "The disk refused the store a write, it is full most likely; the store ends and is started again. See to the disk.",
    "role_started": "A process of `omni up` runs; with its pid.",
    "role_died": "A process of `omni up` ended unasked; it is started again with back-off.",
    "role_failed": "A process of `omni up` cannot start; everything stops.",
    "up_stopping": "`omni up` stops everything it started.",
    "starter_gone": "The process that started this one is gone; it ends.",
    "role_stalled": "A role did not end in time and was killed.",
    # api
    "api_started": "The API listens; with its address.",
    "api_waiting": "The database is away at the API's start; requests are answered 503, and it tries again by itself.",
    "api_engine_away": "A request met an engine that is away; answered 503.",
    "api_failed": "A request met an error of our own; logged whole, answered 500.",
}

NUMBERS: Final = CollectorRegistry()

hose_events_accepted: Final = Counter("omni_hose_events_accepted", "Events acknowledged as durable.", registry=NUMBERS)
hose_events_rejected: Final = Counter("omni_hose_events_rejected", "Lines refused with a reason.", registry=NUMBERS)
hose_requests: Final = Counter("omni_hose_requests", "Requests by HTTP status.", ["status"], registry=NUMBERS)
hose_requests_repeated: Final = Counter(
    "omni_hose_requests_repeated", "Requests recognised as repetitions.", registry=NUMBERS
)
hose_envelopes_cut: Final = Counter("omni_hose_envelopes_cut", "Envelopes cut, by lane.", ["lane"], registry=NUMBERS)
hose_envelopes_sent: Final = Counter("omni_hose_envelopes_sent", "Envelopes confirmed by the queue.", registry=NUMBERS)
hose_spool_bytes: Final = Gauge("omni_hose_spool_bytes", "Bytes in the spool.", registry=NUMBERS)
hose_unsent_envelopes: Final = Gauge(
    "omni_hose_unsent_envelopes", "Envelopes cut and not yet confirmed.", registry=NUMBERS
)
hose_commit_seconds: Final = Histogram("omni_hose_commit_seconds", "Seconds of one group commit.", registry=NUMBERS)
supervisor_leases: Final = Gauge("omni_supervisor_leases", "Envelopes the parent holds.", registry=NUMBERS)
supervisor_settled: Final = Counter(
    "omni_supervisor_envelopes_settled", "Envelopes all services are done with.", registry=NUMBERS
)
supervisor_events_settled: Final = Counter(
    "omni_supervisor_events_settled", "Events in settled envelopes.", registry=NUMBERS
)
supervisor_newer: Final = Counter(
    "omni_supervisor_envelopes_newer", "Times an envelope of a newer version or codec was given back.", registry=NUMBERS
)
service_done: Final = Counter(
    "omni_service_envelopes_done", "Envelopes done, by service.", ["service"], registry=NUMBERS
)
service_sided: Final = Counter(
    "omni_service_envelopes_sided", "Envelopes sent to a siding.", ["service"], registry=NUMBERS
)
service_dead: Final = Counter("omni_service_envelopes_dead", "Envelopes given up.", ["service"], registry=NUMBERS)
service_erased: Final = Counter(
    "omni_service_events_erased",
    "Events left out because their recipient was erased after them, by service.",
    ["service"],
    registry=NUMBERS,
)
service_circuit_open: Final = Gauge(
    "omni_service_circuit_open", "1 while a circuit is open.", ["service"], registry=NUMBERS
)
database_write_seconds: Final = Histogram(
    "omni_database_write_seconds",
    "Seconds of one writing transaction, by part; more than 0.05 holds up others.",
    ["part"],
    registry=NUMBERS,
)
queue_envelopes_expired: Final = Counter(
    "omni_queue_envelopes_expired", "Envelopes older than their queue keeps them, gone.", ["queue"], registry=NUMBERS
)
queue_clock_skew_seconds: Final = Gauge(
    "omni_queue_clock_skew_seconds", "Seconds the queue's clock is ahead of ours (SQS).", registry=NUMBERS
)
webhook_waiting: Final = Gauge(
    "omni_webhook_waiting",
    "What waits for a webhook's customer (events, batches, compressed bytes); told by the API, from counters.",
    ["webhook", "unit"],
    registry=NUMBERS,
)
webhook_failing_seconds: Final = Gauge(
    "omni_webhook_failing_seconds",
    "Seconds since a webhook's last success was followed by a failure; told by the API.",
    ["webhook"],
    registry=NUMBERS,
)
webhook_stopped: Final = Gauge(
    "omni_webhook_stopped", "1 for a webhook that gets no attempts; told by the API.", ["webhook"], registry=NUMBERS
)
webhook_dropped_events: Final = Gauge(
    "omni_webhook_dropped_events",
    "Events of a webhook dropped by the limit of its backlog, ever; told by the API.",
    ["webhook"],
    registry=NUMBERS,
)

audit_missing_envelopes: Final = Gauge(
    "omni_audit_missing_envelopes",
    "Envelopes of the last so many hours that a service lacks, whole or in part: 0 or an alarm; told by the API. Absent: nobody audits.",
    ["hours"],
    registry=NUMBERS,
)
audit_doubled_events: Final = Gauge(
    "omni_audit_doubled_events",
    "Events of the last so many hours that stand twice: 0 or an alarm; told by the API. Absent: nobody audits.",
    ["hours"],
    registry=NUMBERS,
)


def configure_logs(level: str, log_format: str) -> None:
    """Set up structlog on stderr: JSON lines for machines, colours for a terminal."""
    use_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    renderer: Any = structlog.processors.JSONRenderer() if use_json else _console()
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if use_json:
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _console() -> structlog.dev.ConsoleRenderer:
    """Traces without the values of variables, which structlog shows by itself: keys, bodies and URLs are among them."""
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def get_logger(**bound: Any) -> Any:
    """A logger; its first argument is a name in `LINES`."""
    return structlog.get_logger().bind(**bound)
