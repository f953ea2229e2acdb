"""Numbers for Prometheus; those of webhooks' backlogs are read from the outbox's counters as they are asked for.

The audit's two are those of the last check of a parent.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import generate_latest

from omni_etl import telemetry
from omni_etl.audit import Audits
from omni_etl.errors import UnavailableError
from omni_etl.outbox import Lane

router = APIRouter(tags=["Without a key"])
GAUGES = (
    telemetry.webhook_waiting,
    telemetry.webhook_failing_seconds,
    telemetry.webhook_stopped,
    telemetry.webhook_dropped_events,
)

AUDIT_GAUGES = (telemetry.audit_missing_envelopes, telemetry.audit_doubled_events)


@router.get("/metrics", response_class=PlainTextResponse)
async def numbers(request: Request) -> Response:
    """Prometheus text. While the database is away, nothing is said of webhooks."""
    parts = request.app.state.parts
    try:
        lanes = await parts.deliveries.waiting()
    except UnavailableError:
        lanes = []
    for gauge in GAUGES:
        gauge.clear()
    await _set_audit(parts.audits)
    for lane in lanes:
        _set(lane, now_ms=parts.clock.now() * 1000)
    return PlainTextResponse(generate_latest(telemetry.NUMBERS))


async def _set_audit(audits: Audits) -> None:
    """Absent where no parent has checked within the hour, or the database is away: nobody vouches for a 0."""
    try:
        last = await audits.last()
    except UnavailableError:
        last = None
    for gauge in AUDIT_GAUGES:
        gauge.clear()
    if last is not None:
        hours = str(last["window_hours"])
        telemetry.audit_missing_envelopes.labels(hours).set(last["missing_envelopes"])
        telemetry.audit_doubled_events.labels(hours).set(last["doubled_events"])


def _set(lane: Lane, *, now_ms: float) -> None:
    waiting = telemetry.webhook_waiting
    waiting.labels(lane.webhook_id, "events").set(lane.waiting_events)
    waiting.labels(lane.webhook_id, "batches").set(lane.waiting_batches)
    waiting.labels(lane.webhook_id, "bytes").set(lane.waiting_bytes)
    since_ms = now_ms if lane.failing_since_ms is None else lane.failing_since_ms
    telemetry.webhook_failing_seconds.labels(lane.webhook_id).set(max(0.0, now_ms - since_ms) / 1000)
    telemetry.webhook_stopped.labels(lane.webhook_id).set(lane.stopped_at_ms is not None)
    telemetry.webhook_dropped_events.labels(lane.webhook_id).set(lane.dropped_events)
