"""Replays: send a webhook's events of a time range once more; durable jobs with an estimate, progress and an end."""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from omni_etl.api.parameters import Parameters
from omni_etl.api.problems import plain
from omni_etl.api.webhook_delivery import moment
from omni_etl.api.webhooks import ANSWERS_OF_ONE, MODIFY, VIEW, found_for, parameters_of
from omni_etl.replay import EVENTS_PER_SECOND, Replay

REPLAYS_SHOWN_MAX: Final = 1_000
EVENTS_PER_SECOND_MAX: Final = 10_000
_ONE: Final = parameters_of()
_LISTED: Final = parameters_of(limit={"type": "integer", "minimum": 1, "maximum": REPLAYS_SHOWN_MAX, "default": 100})

router = APIRouter(tags=["Webhook delivery"])


class ReplayWish(BaseModel):
    """Which events, and how fast."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    from_: Annotated[str, Field(alias="from", max_length=64, description="Inclusive; as in a search for events.")]
    to: Annotated[str | None, Field(max_length=64, description="Exclusive; now where nothing is said.")] = None
    events_per_second: Annotated[int, Field(ge=1, le=EVENTS_PER_SECOND_MAX)] = EVENTS_PER_SECOND


@router.post(
    "/webhooks/{webhook_id}/replays",
    status_code=HTTPStatus.CREATED,
    responses=ANSWERS_OF_ONE,
    openapi_extra=_ONE,
)
async def begin(request: Request, webhook_id: str, body: ReplayWish) -> dict[str, Any]:
    """Send the events that the webhook wants once more, newest first, under new batch ids, at a pace."""
    found, parts = await found_for(request, webhook_id, MODIFY), request.app.state.parts
    now_ms = int(parts.clock.now() * 1000)
    times = Parameters([("from", body.from_), *([("to", body.to)] if body.to is not None else [])])
    first, last = times.moment("from"), times.moment("to")
    from_ms = now_ms if first is None else int(first.timestamp() * 1000)
    replay = new_replay(
        found.id,
        from_ms=from_ms,
        to_ms=now_ms if last is None else int(last.timestamp() * 1000),
        events_per_second=body.events_per_second,
        now_ms=now_ms,
    )
    if replay.from_ms >= replay.to_ms:
        raise plain(HTTPStatus.BAD_REQUEST, "'from' must be before 'to'")
    await parts.replays.begin(replay)
    return {"results": shown(replay)}


@router.get("/webhooks/{webhook_id}/replays", responses=ANSWERS_OF_ONE, openapi_extra=_LISTED)
async def read_all(request: Request, webhook_id: str) -> dict[str, Any]:
    """Every replay of a webhook, newest first."""
    found = await found_for(request, webhook_id, VIEW)
    limit = Parameters.of(request).number("limit", default=100, least=1, most=REPLAYS_SHOWN_MAX)
    replays = await request.app.state.parts.replays.of_webhook(found.id, count_max=limit)
    return {"results": [shown(each) for each in replays]}


@router.get("/webhooks/{webhook_id}/replays/{replay_id}", responses=ANSWERS_OF_ONE, openapi_extra=_ONE)
async def read(request: Request, webhook_id: str, replay_id: str) -> dict[str, Any]:
    """How far one is."""
    found = await found_for(request, webhook_id, VIEW)
    replay = await request.app.state.parts.replays.find(found.id, replay_id)
    if replay is None:
        raise _unknown()
    return {"results": shown(replay)}


@router.delete(
    "/webhooks/{webhook_id}/replays/{replay_id}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=ANSWERS_OF_ONE,
    openapi_extra=_ONE,
)
async def cancel(request: Request, webhook_id: str, replay_id: str) -> Response:
    """No further batches of it; those that were cut go out."""
    found = await found_for(request, webhook_id, MODIFY)
    if not await request.app.state.parts.replays.cancel(found.id, replay_id):
        raise _unknown()
    return Response(status_code=HTTPStatus.NO_CONTENT)


def new_replay(webhook_id: str, *, from_ms: int, to_ms: int, events_per_second: int, now_ms: int) -> Replay:
    """A job with a new id."""
    return Replay(str(uuid.uuid4()), webhook_id, from_ms, to_ms, events_per_second, "waiting", now_ms)


def shown(replay: Replay) -> dict[str, Any]:
    """As it may be read; the command line shows the same."""
    return {
        "id": replay.id,
        "webhook_id": replay.webhook_id,
        "state": replay.state,
        "from": moment(replay.from_ms),
        "to": moment(replay.to_ms),
        "events_per_second": replay.events_per_second,
        "estimated_events": replay.estimate,
        "looked_at_events": replay.found,
        "sent_events": replay.sent,
        "batches": replay.batches,
        "trouble": replay.trouble,
        "created": moment(replay.created_at_ms),
        "finished": moment(replay.finished_at_ms),
    }


def _unknown() -> Exception:
    return plain(HTTPStatus.NOT_FOUND, "Replay could not be found, or is over")
