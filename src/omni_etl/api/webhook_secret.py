"""The secret with which a webhook's batches are signed: read it, replace it. SparkPost signs nothing.

It is shown here and nowhere else; former ones are not shown again, only until when they sign.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from omni_etl.api.webhook_delivery import moment
from omni_etl.api.webhooks import ANSWERS_OF_ONE, MODIFY, found_for, parameters_of, unknown
from omni_etl.webhook import OVERLAP_SECONDS, OVERLAP_SECONDS_MAX, Webhook

_ONE: Final = parameters_of()

router = APIRouter(tags=["Webhook delivery"])


class Rotation(BaseModel):
    """How the secret is replaced."""

    model_config = ConfigDict(extra="forbid", strict=True)

    overlap_seconds: Annotated[
        int,
        Field(ge=0, le=OVERLAP_SECONDS_MAX, description="For so long the former secrets sign too; 0 ends them now."),
    ] = OVERLAP_SECONDS


@router.get("/webhooks/{webhook_id}/signing-secret", responses=ANSWERS_OF_ONE, openapi_extra=_ONE)
async def read(request: Request, response: Response, webhook_id: str) -> dict[str, Any]:
    """The secret that a receiver verifies with (Standard Webhooks), and until when former ones sign besides."""
    return _answer(request, response, await found_for(request, webhook_id, MODIFY))


@router.post(
    "/webhooks/{webhook_id}/signing-secret",
    status_code=HTTPStatus.CREATED,
    responses=ANSWERS_OF_ONE,
    openapi_extra=_ONE,
)
async def rotate(request: Request, response: Response, webhook_id: str, body: Rotation | None = None) -> dict[str, Any]:
    """Make a new secret; both sign until the overlap is over, so that no batch fails while the receiver changes over."""
    found = await found_for(request, webhook_id, MODIFY)
    seconds = OVERLAP_SECONDS if body is None else body.overlap_seconds
    after = await request.app.state.parts.webhooks.rotate(found.id, overlap_seconds=seconds)
    if after is None:
        raise unknown()
    return _answer(request, response, after)


def _answer(request: Request, response: Response, webhook: Webhook) -> dict[str, Any]:
    response.headers["Cache-Control"] = "no-store"
    return {"results": shown(webhook, now_ms=int(request.app.state.parts.clock.now() * 1000))}


def shown(webhook: Webhook, *, now_ms: int) -> dict[str, Any]:
    """As it may be read; the command line shows the same."""
    former = [{"until": moment(each.until_ms)} for each in webhook.former_secrets if each.until_ms > now_ms]
    return {"id": webhook.id, "secret": webhook.signing_secret, "former": former}
