"""Intake: the hose over HTTP. `POST /v1/events`, `GET /health`, `GET /metrics`."""

from __future__ import annotations

from io import BytesIO
from typing import Final

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from omni_etl.errors import IntakeError
from omni_etl.hose.answer import Answer
from omni_etl.hose.body import Form
from omni_etl.hose.event_hose import EventHose
from omni_etl.hose.room import Held
from omni_etl.telemetry import NUMBERS, hose_requests

FORMS: Final[dict[str, Form]] = {
    "": "any",
    "application/json": "any",
    "text/json": "any",
    "text/plain": "any",
    "application/octet-stream": "any",
    "application/x-ndjson": "lines",
    "application/ndjson": "lines",
    "application/jsonl": "lines",
    "application/x-jsonlines": "lines",
}
KEY_BYTES_MAX: Final = 255


def intake_app(hose: EventHose) -> Starlette:
    """The hose as an ASGI application. Starting and stopping the hose is the caller's."""

    async def events(request: Request) -> Response:
        return await _events(hose, request)

    async def health(_request: Request) -> Response:
        return _health(hose)

    routes = [
        Route("/v1/events", events, methods=["POST"]),
        Route("/health", health, methods=["GET"]),
        Route("/metrics", _metrics, methods=["GET"]),
    ]
    return Starlette(routes=routes)


async def _events(hose: EventHose, request: Request) -> Response:
    try:
        answer = await _accept(hose, request)
    except IntakeError as error:
        return _counted(_refusal(error))
    except ClientDisconnect:
        return _counted(_refusal(IntakeError(400, "the body ended too early")))
    nothing_valid = answer.refused and not answer.accepted
    return _counted(_json(answer, status=400 if nothing_valid else 200))


async def _accept(hose: EventHose, request: Request) -> Answer:
    form = _form(request.headers.get("content-type", ""))
    key = _key(request.headers.get("idempotency-key"))
    old = _old(request.query_params.get("old"))
    hose.check_room()
    encoding = request.headers.get("content-encoding", "")
    with hose.room.hold(0) as held:
        bodies = [await _read(hose, request, held)]
    # And no longer ours: it may be long.
    return await hose.accept(bodies.pop(), encoding=encoding, form=form, key=key, old=old)


async def _read(hose: EventHose, request: Request, held: Held) -> bytes:
    """The body as sent, refused as soon as it is too long; its bytes count from the first on."""
    body_bytes_max = hose.limits.body_bytes_max
    too_long = IntakeError(413, f"the body is longer than {body_bytes_max} bytes")
    if int(request.headers.get("content-length") or 0) > body_bytes_max:
        raise too_long
    body = BytesIO()  # gives out what it holds without a copy
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > body_bytes_max:
            raise too_long
        held.change(size)
        body.write(chunk)
    return body.getvalue()


def _form(content_type: str) -> Form:
    name = content_type.partition(";")[0].strip().lower()
    if name not in FORMS:
        raise IntakeError(415, f"Content-Type {name[:64]!r} is not taken; use application/json or application/x-ndjson")
    return FORMS[name]


def _key(key: str | None) -> str | None:
    if key is not None and not 0 < len(key) <= KEY_BYTES_MAX:
        raise IntakeError(400, f"Idempotency-Key must have 1 to {KEY_BYTES_MAX} characters")
    return key


def _old(text: str | None) -> bool:
    if text not in {None, "true", "false"}:
        raise IntakeError(400, "old must be true or false")
    return text == "true"


def _health(hose: EventHose) -> Response:
    state = {
        "status": "refusing" if hose.is_refusing else "ok",
        "hose_id": hose.hose_id,
        "spool_bytes": hose.spool_bytes,
        "unsent_envelopes": hose.unsent_count,
    }
    return _json(state, status=503 if hose.is_refusing else 200)


async def _metrics(_request: Request) -> Response:
    return Response(generate_latest(NUMBERS), media_type=CONTENT_TYPE_LATEST)


def _refusal(error: IntakeError) -> Response:
    response = _json({"errors": [{"message": error.reason}]}, status=error.status)
    if error.retry_after_seconds is not None:
        response.headers["retry-after"] = str(error.retry_after_seconds)
    return response


def _json(content: object, *, status: int) -> Response:
    return Response(msgspec.json.encode(content), status_code=status, media_type="application/json")


def _counted(response: Response) -> Response:
    hose_requests.labels(str(response.status_code)).inc()
    return response
