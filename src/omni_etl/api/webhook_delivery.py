"""Delivery of one webhook: how it goes, what waits, every attempt; pause, resume, try again. SparkPost has nothing like it.

What a webhook is stands in `webhooks`; this is what becomes of its batches.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from omni_etl.api.event_documentation import documented
from omni_etl.api.parameters import Parameters
from omni_etl.api.webhook_probe import error_code, probe, with_new_token
from omni_etl.api.webhooks import ANSWERS_OF_ONE, MODIFY, VIEW, found_for, parameters_of, unknown
from omni_etl.deliveries import AttemptNote
from omni_etl.event import GROUP_OF
from omni_etl.outbox import FAILURES_OPEN, Lane, held_until_ms
from omni_etl.services.webhooks.verdict import stops_at_ms
from omni_etl.webhook import RetrySchedule, Webhook

ATTEMPTS_MAX: Final = 1_000
RETRIES_MAX: Final = 500  # batches of one transaction, see backends/database/engine.py
BATCH_EVENTS_LEAST: Final = 10  # a batch for each event costs all who share the outbox twenty times as much
BATCH_EVENTS_MOST: Final = 10_000
PAUSED: Final = "paused"

_ONE: Final = parameters_of()
_ATTEMPTS: Final = parameters_of(
    limit={"type": "integer", "minimum": 1, "maximum": ATTEMPTS_MAX, "default": 100},
    batch_id={"type": "string", "description": "Attempts of this batch alone."},
    before={"type": "string", "description": "Attempts before this time."},
)

router = APIRouter(tags=["Webhook delivery"])


class DeliveryWish(BaseModel):
    """How batches are cut and repeated."""

    model_config = ConfigDict(extra="forbid", strict=True)

    retry_schedule: RetrySchedule | None = None
    batch_events_max: Annotated[int | None, Field(ge=BATCH_EVENTS_LEAST, le=BATCH_EVENTS_MOST)] = None


@router.get("/webhooks/{webhook_id}/delivery", responses=ANSWERS_OF_ONE, openapi_extra=_ONE)
async def read(request: Request, webhook_id: str) -> dict[str, Any]:
    """How delivery goes, and how much waits."""
    return {"results": await _described(request, await found_for(request, webhook_id, VIEW))}


@router.put("/webhooks/{webhook_id}/delivery", responses=ANSWERS_OF_ONE, openapi_extra=_ONE)
async def change(request: Request, webhook_id: str, body: DeliveryWish) -> dict[str, Any]:
    """How batches are cut and repeated from now on; those that were cut stay as they are."""
    before = await found_for(request, webhook_id, MODIFY)
    said = {name: value for name, value in body.model_dump(exclude_unset=True).items() if value is not None}
    after = replace(before, **said)
    if not await request.app.state.parts.webhooks.change(before, after):
        raise unknown()
    return {"results": await _described(request, after)}


@router.post("/webhooks/{webhook_id}/pause", responses=ANSWERS_OF_ONE, openapi_extra=_ONE)
async def pause(request: Request, webhook_id: str) -> dict[str, Any]:
    """No attempts until it is resumed; events are kept meanwhile, up to the limit of the backlog."""
    found = await found_for(request, webhook_id, MODIFY)
    await request.app.state.parts.deliveries.stop(found.id, PAUSED)
    return {"results": await _described(request, found)}


@router.post("/webhooks/{webhook_id}/resume", responses=ANSWERS_OF_ONE, openapi_extra=_ONE)
async def resume(request: Request, webhook_id: str) -> dict[str, Any]:
    """Attempts again, from where they stopped: after a pause, a 410, or five days without success."""
    found = await found_for(request, webhook_id, MODIFY)
    await request.app.state.parts.deliveries.resume(found.id)
    return {"results": await _described(request, found)}


@router.post("/webhooks/{webhook_id}/retry", responses=ANSWERS_OF_ONE, openapi_extra=_ONE)
async def retry(request: Request, webhook_id: str) -> dict[str, Any]:
    """Try now what was given up, as if it were fresh, and what waits for its next attempt: some; repeat until it says 0."""
    found = await found_for(request, webhook_id, MODIFY)
    count = await request.app.state.parts.deliveries.retry(found.id, count_max=RETRIES_MAX)
    return {"results": {"batches": count}}


@router.get("/webhooks/{webhook_id}/attempts", responses=ANSWERS_OF_ONE, openapi_extra=_ATTEMPTS)
async def attempts(request: Request, webhook_id: str) -> dict[str, Any]:
    """Every attempt of the last day, newest first."""
    found, said = await found_for(request, webhook_id, VIEW), Parameters.of(request)
    before = said.moment("before")
    notes = await request.app.state.parts.deliveries.attempts(
        found.id,
        count_max=said.number("limit", default=100, least=1, most=ATTEMPTS_MAX),
        batch_id=said.text("batch_id"),
        before_ms=None if before is None else int(before.timestamp() * 1000),
    )
    return {"results": [_note(each) for each in notes]}


@router.post("/webhooks/{webhook_id}/ping", responses=ANSWERS_OF_ONE, openapi_extra=_ONE)
async def ping(request: Request, webhook_id: str) -> dict[str, Any]:
    """POST a sample of each event type that the webhook wants, as one batch, now; what was answered."""
    found, parts = await found_for(request, webhook_id, MODIFY), request.app.state.parts
    samples = [
        {"msys": {GROUP_OF[each.name]: each.sample}} for each in documented().values() if each.name in found.events
    ]
    webhook = await with_new_token(found, poster=parts.poster, clock=parts.clock)
    answer = await probe(webhook, poster=parts.poster, clock=parts.clock, body=orjson.dumps(samples))
    return {"results": {"events": len(samples), "response": answer}}


async def _described(request: Request, webhook: Webhook) -> dict[str, Any]:
    deliveries = request.app.state.parts.deliveries
    lanes, oldest = await deliveries.lanes([webhook.id]), await deliveries.oldest([webhook.id])
    now_ms = int(request.app.state.parts.clock.now() * 1000)
    return described(webhook, lanes.get(webhook.id, Lane(webhook.id)), oldest_ms=oldest.get(webhook.id), now_ms=now_ms)


def described(webhook: Webhook, lane: Lane, *, oldest_ms: int | None, now_ms: int) -> dict[str, Any]:
    """A webhook's delivery in words and figures; the command line shows the same."""
    return {
        "id": webhook.id,
        "state": state_of(webhook, lane),
        "retry_schedule": webhook.retry_schedule,
        "batch_events_max": webhook.batch_events_max,
        "waiting": {
            "batches": lane.waiting_batches,
            "events": lane.waiting_events,
            "bytes": lane.waiting_bytes,
            "oldest": moment(oldest_ms),
            "oldest_seconds": None if oldest_ms is None else max(0, now_ms - oldest_ms) // 1000,
        },
        "delivered": {"batches": lane.delivered_batches, "events": lane.delivered_events},
        "given_up": {"batches": lane.given_up_batches, "events": lane.given_up_events},
        "dropped": {"events": lane.dropped_events},
        "failures_in_a_row": lane.failures,
        "failing_since": moment(lane.failing_since_ms),
        "next_attempt_not_before": moment(held_until_ms(lane.resume_at_ms, now_ms=now_ms) or None),
        "stops_at": None if lane.stopped_at_ms else moment(stops_at_ms(lane.failing_since_ms)),
        "stopped_at": moment(lane.stopped_at_ms),
        "stopped_reason": lane.stopped_reason,
    }


def state_of(webhook: Webhook, lane: Lane) -> str:
    """One word."""
    if not webhook.active:
        return "inactive"
    if lane.stopped_at_ms is not None:
        return PAUSED if lane.stopped_reason == PAUSED else "stopped"
    if lane.failures >= FAILURES_OPEN:
        return "probing"
    return "failing" if lane.failures else "delivering"


def moment(at_ms: int | None) -> str | None:
    """`2016-04-18T14:25:07.000Z`."""
    if at_ms is None:
        return None
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03}Z"


def _note(note: AttemptNote) -> dict[str, Any]:
    is_status = note.answer.isdigit()
    return {
        "batch_id": note.batch_id,
        "batch_size": note.event_count,
        "attempt": note.number,
        "ts": moment(note.at_ms),
        "outcome": note.kind,
        "response_code": note.answer if is_status else None,
        "failure_code": None if is_status or note.kind == "delivered" else error_code(note.answer),
        "response": note.excerpt,
        "latency": note.latency_ms,
        "next_attempt": moment(note.next_at_ms),
    }
