"""Webhooks: create, list, read, change, delete, try out, and which batches failed (reference: SparkPost, §2).

Whoever speaks for a subaccount meets that subaccount's webhooks alone: others are not found. Nothing is kept that the
deliverer could not send: a new webhook, and a changed target, must take a test POST first.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from fastapi import APIRouter, Request, Response

from omni_etl.api.caller import SUBACCOUNT_HEADER, Caller, caller, subaccount
from omni_etl.api.parameters import Parameters
from omni_etl.api.problems import plain
from omni_etl.api.webhook_members import ChangedWebhook, NewWebhook, changed, made, shown
from omni_etl.api.webhook_probe import PROBE, error_code, probe, with_new_token
from omni_etl.deliveries import Trouble
from omni_etl.outbox import Lane
from omni_etl.webhook import Webhook

VIEW: Final = "webhooks/view"
MODIFY: Final = "webhooks/modify"
NEVER: Final = Lane("")
TROUBLES_MAX: Final = 10_000
MESSAGE_BYTES_MAX: Final = 2 * 1024 * 1024  # no batch is larger

_ERROR: Final = {"content": {"application/json": {"schema": {"type": "object", "required": ["errors"]}}}}
ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "Something is wrong with the request, or the target did not take the test POST", **_ERROR},
    401: {"description": "No key, or one that is not known", **_ERROR},
    403: {"description": "The key may not do this", **_ERROR},
    413: {"description": "The body is too long", **_ERROR},
    429: {"description": "Too many requests; Retry-After says when to come again", **_ERROR},
    503: {"description": "An engine is away; Retry-After says when to come again", **_ERROR},
}
ANSWERS_OF_ONE: Final = ANSWERS | {404: {"description": "There is no such webhook, or it is another's", **_ERROR}}


def parameters_of(**described: dict[str, Any]) -> dict[str, Any]:
    """For `openapi_extra`: the header that says who is meant, and parameters of the query."""
    whole = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
    header = {"name": SUBACCOUNT_HEADER, "in": "header", "required": False, "schema": whole}
    query = [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in described.items()]
    return {"parameters": [header, *query]}


_TIMEZONE: Final = {"type": "string", "default": "UTC", "description": "Of last_successful and last_failure."}
_ONE: Final = parameters_of()
_SHOWN: Final = parameters_of(timezone=_TIMEZONE)
_TROUBLES: Final = parameters_of(limit={"type": "integer", "minimum": 1, "maximum": TROUBLES_MAX, "default": 1000})
_MESSAGE: Final = {"requestBody": {"required": False, "content": {"application/json": {"schema": {}}}}}

router = APIRouter(tags=["Webhooks"])


@router.post("/webhooks", responses=ANSWERS, openapi_extra=_ONE)
async def create(request: Request, body: NewWebhook) -> dict[str, Any]:
    """Keep a webhook. Without the subaccount header it hears of the primary account and all subaccounts."""
    _needs(request, MODIFY)
    parts = request.app.state.parts
    webhook = await with_new_token(made(body, subaccount(request)), poster=parts.poster, clock=parts.clock)
    await probe(webhook, poster=parts.poster, clock=parts.clock)
    await parts.webhooks.put(webhook)
    return {"results": {"id": webhook.id, "links": [_link(webhook, "webhook")]}}


@router.get("/webhooks", responses=ANSWERS, openapi_extra=_SHOWN)
async def read_all(request: Request) -> dict[str, Any]:
    """Every webhook that the caller may see."""
    _needs(request, VIEW)
    parts, zone, meant = request.app.state.parts, Parameters.of(request).zone("timezone"), subaccount(request)
    found = [each for each in await parts.webhooks.all() if _is_meant(each, meant)]
    last = await parts.deliveries.lanes([each.id for each in found])
    return {"results": [_shown(request, each, last, zone) | {"links": [_link(each, "webhook")]} for each in found]}


@router.get("/webhooks/{webhook_id}", responses=ANSWERS_OF_ONE, openapi_extra=_SHOWN)
async def read(request: Request, webhook_id: str) -> dict[str, Any]:
    """One webhook."""
    _needs(request, VIEW)
    zone, found = Parameters.of(request).zone("timezone"), await _found(request, webhook_id)
    last = await request.app.state.parts.deliveries.lanes([found.id])
    links = [_link(found, "validate"), _link(found, "batches")]
    return {"results": _shown(request, found, last, zone) | {"links": links}}


@router.put("/webhooks/{webhook_id}", responses=ANSWERS_OF_ONE, openapi_extra=_ONE)
async def change(request: Request, webhook_id: str, body: ChangedWebhook) -> dict[str, Any]:
    """Change what is said; a new target is tested first. Batches that were cut go to the old one."""
    caller = _needs(request, MODIFY)
    parts, before = request.app.state.parts, await _found(request, webhook_id)
    after = changed(before, body, may_move=caller.subaccount_id is None)
    if after.active or after.token_request != before.token_request:  # whoever pauses need not wait for a token
        after = await with_new_token(after, poster=parts.poster, clock=parts.clock)
    if after.target != before.target:
        await probe(after, poster=parts.poster, clock=parts.clock)
    if not await parts.webhooks.change(before, after):
        raise unknown()
    return {"results": {"id": after.id, "links": [_link(after, "validate")]}}


@router.delete(
    "/webhooks/{webhook_id}", status_code=HTTPStatus.NO_CONTENT, responses=ANSWERS_OF_ONE, openapi_extra=_ONE
)
async def delete(request: Request, webhook_id: str) -> Response:
    """Forget it; batches that were cut still go out."""
    _needs(request, MODIFY)
    found = await _found(request, webhook_id)
    if not await request.app.state.parts.webhooks.delete(found.id):
        raise unknown()
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.post("/webhooks/{webhook_id}/validate", responses=ANSWERS_OF_ONE, openapi_extra=_ONE | _MESSAGE)
async def validate(request: Request, webhook_id: str) -> dict[str, Any]:
    """POST to the target now: a batch `[...]`, `{"message": ...}`, or without a body the empty `[{"msys":{}}]`."""
    _needs(request, MODIFY)
    message, found = _message(await request.body()), await _found(request, webhook_id)
    parts = request.app.state.parts
    webhook = await with_new_token(found, poster=parts.poster, clock=parts.clock)
    answer = await probe(webhook, poster=parts.poster, clock=parts.clock, body=message)
    return {"results": {"msg": "Test POST to endpoint succeeded", "response": answer}}


@router.get("/webhooks/{webhook_id}/batch-status", responses=ANSWERS_OF_ONE, openapi_extra=_TROUBLES)
async def batch_status(request: Request, webhook_id: str) -> dict[str, Any]:
    """Batches of the last 24 hours that failed, newest first, also those that went through later."""
    _needs(request, VIEW)
    limit = Parameters.of(request).number("limit", default=1_000, least=1, most=TROUBLES_MAX)
    found = await _found(request, webhook_id)
    troubles = await request.app.state.parts.deliveries.troubles(found.id, count_max=limit)
    return {"results": [_status(found.id, each) for each in troubles]}


def _needs(request: Request, grant: str) -> Caller:
    found = caller(request)
    found.needs(grant)
    return found


async def found_for(request: Request, webhook_id: str, grant: str) -> Webhook:
    """The webhook, if the caller may do this and it is one that the request may speak of.

    Raises:
        Problem: 403, 404.

    """
    _needs(request, grant)
    return await _found(request, webhook_id)


async def _found(request: Request, webhook_id: str) -> Webhook:
    """The webhook, if it is one that the request may speak of."""
    meant = subaccount(request)
    found: Webhook | None = await request.app.state.parts.webhooks.find(webhook_id) if _is_id(webhook_id) else None
    if found is None or not _is_meant(found, meant):
        raise unknown()
    return found


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _is_meant(webhook: Webhook, subaccount_id: int | None) -> bool:
    """None means everyone's; 0 those of the primary account, whomever they hear of."""
    return subaccount_id is None or max(webhook.subaccount_id, 0) == subaccount_id


def unknown() -> Exception:
    """There is no such webhook, or it is another's."""
    return plain(HTTPStatus.NOT_FOUND, "Webhook could not be found")


def _shown(request: Request, webhook: Webhook, last: Mapping[str, Lane], zone: ZoneInfo) -> dict[str, Any]:
    now_ms = int(request.app.state.parts.clock.now() * 1000)
    return shown(webhook, last.get(webhook.id, NEVER), zone=zone, now_ms=now_ms)


def _message(body: bytes) -> bytes:
    """The batch to try it with, as it is sent."""
    if not body.strip():
        return PROBE
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise plain(HTTPStatus.BAD_REQUEST, "Request body parsing failed") from None
    message = said.get("message", {"msys": {}}) if isinstance(said, dict) else said
    batch = message if isinstance(message, list) else [message]
    if not all(isinstance(each, dict) and isinstance(each.get("msys"), dict) for each in batch):
        raise plain(HTTPStatus.BAD_REQUEST, "'message' must be an array of objects with a member msys")
    try:
        sent = orjson.dumps(batch)
    except orjson.JSONEncodeError:  # it reads deeper than it writes
        raise plain(HTTPStatus.BAD_REQUEST, "'message' is nested too deep") from None
    if len(sent) > MESSAGE_BYTES_MAX:
        raise plain(HTTPStatus.BAD_REQUEST, f"'message' must be at most {MESSAGE_BYTES_MAX} bytes")
    return sent


def _status(webhook_id: str, trouble: Trouble) -> dict[str, Any]:
    is_status = trouble.answer.isdigit()
    status: dict[str, Any] = {
        "webhook_id": webhook_id,
        "batch_id": trouble.batch_id,
        "batch_size": trouble.event_count,
        "ts": datetime.fromtimestamp(trouble.at_ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
        "attempts": trouble.attempts,
        "latency": trouble.latency_ms,
    }
    if is_status:
        status["response_code"] = trouble.answer
    if not trouble.is_delivered:
        status["failure_code"] = trouble.answer if is_status else error_code(trouble.answer)
    return status


def _link(webhook: Webhook, rel: str) -> dict[str, Any]:
    where, methods = {
        "webhook": ("", ["GET", "PUT"]),
        "validate": ("/validate", ["POST"]),
        "batches": ("/batch-status", ["GET"]),
    }[rel]
    return {"href": f"/api/v1/webhooks/{webhook.id}{where}", "rel": f"urn.msys.webhooks.{rel}", "method": methods}
