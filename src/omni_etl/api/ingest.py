"""`POST /ingest/events`: events from outside, through the API to the hose; answered when the hose has them on its disk."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Request

from omni_etl.api.auth import needs
from omni_etl.api.caller import caller
from omni_etl.api.parameters import Parameters
from omni_etl.api.problems import Problem, described, invalid, plain
from omni_etl.poster import Answer, Poster

RETRY_AFTER_SECONDS: Final = 2
REASONS_MAX: Final = 100  # of refused lines, in one answer
SENDERS_FAULTS: Final = {
    400: "Something is wrong with the request, or with every event",
    413: "The body is too long, or holds too many events",
    415: "A Content-Encoding that is not taken",
    422: "The Idempotency-Key came before with another body",
}
"""What the hose refuses in these words is the sender's to mend; anything else is ours."""

_ASKED: Final = {
    "parameters": [
        {
            "name": "old",
            "in": "query",
            "schema": {"type": "boolean"},
            "description": "An import: events of any age. Takes the grant `ingest/old`.",
        }
    ],
    "requestBody": {
        "required": True,
        "description": "One event a line, flat or as SparkPost wraps it; gzip or zstd where Content-Encoding says so.",
        "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
    },
}

router = APIRouter(tags=["Ingest"])


@dataclass(frozen=True, slots=True)
class Intake:
    """The hose as the API reaches it."""

    poster: Poster
    url: str

    async def open(self) -> None:
        """Make the connection pool."""
        await self.poster.open()

    async def close(self) -> None:
        """Close connections."""
        await self.poster.close()

    async def post(self, body: bytes, headers: Mapping[str, str], *, old: bool) -> Answer:
        """Offer events, of any age where `old`; only a 200 means that they are kept."""
        return await self.poster.post(f"{self.url}/v1/events{'?old=true' if old else ''}", body, headers)


@router.post(
    "/ingest/events",
    dependencies=[Depends(needs("ingest"))],
    responses=described(SENDERS_FAULTS),
    openapi_extra=_ASKED,
)
async def ingest(request: Request) -> dict[str, Any]:
    """Hand events in. A repetition with the same Idempotency-Key, or of the same events with ids, adds nothing.

    The id is made from the key and the request, so a repetition hears it again. Lines that were refused are named,
    unless they are hundreds; the others are kept. After a 503 it is not known what was kept: send the same again.
    """
    who = caller(request)
    if who.subaccount_id is not None:  # its events would have to be its own, and nobody looks into them here
        raise plain(HTTPStatus.FORBIDDEN, "Forbidden.")
    old = _old(request)
    if old:
        who.needs("ingest/old")
    body = await request.body()
    batch_id = _id(request, who.key_id, body)
    answer = await request.app.state.parts.intake.post(body, _headers(request, who.key_id), old=old)
    if answer.status != HTTPStatus.OK:
        raise _refusal(answer)
    said = _said(answer.body)
    results: dict[str, Any] = {"id": batch_id}
    if said.accepted is not None:
        results |= {"accepted": said.accepted, "rejected": [msgspec.to_builtins(each) for each in said.rejected]}
    return {"results": results}


def _old(request: Request) -> bool:
    text = Parameters.of(request).text("old")
    if text not in {None, "true", "false"}:
        raise invalid("old", "old must be true or false")
    return text == "true"


class _Rejected(msgspec.Struct):
    line: int
    reason: str


class _Error(msgspec.Struct):
    message: str


class _Said(msgspec.Struct):
    accepted: int | None = None
    rejected: list[_Rejected] = []
    errors: list[_Error] = []


def _said(body: bytes) -> _Said:
    """What the hose says; nothing where it says so much that its end was not read."""
    try:
        return msgspec.json.decode(body, type=_Said)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Said()


def _headers(request: Request, key_id: str) -> dict[str, str]:
    """What the hose must know. Another key's Idempotency-Key is another's, whatever it says."""
    headers = {"Content-Type": "application/x-ndjson"}
    if encoding := request.headers.get("content-encoding"):
        headers["Content-Encoding"] = encoding
    if said := request.headers.get("idempotency-key"):
        headers["Idempotency-Key"] = hashlib.sha256(f"{key_id} {said}".encode()).hexdigest()
    return headers


def _id(request: Request, key_id: str, body: bytes) -> str:
    said = request.headers.get("idempotency-key")
    source = b"key " + said.encode() if said else b"body " + body
    return str(uuid.UUID(bytes=hashlib.sha256(key_id.encode() + b" " + source).digest()[:16], version=5))


def _refusal(answer: Answer) -> Exception:
    if answer.status not in SENDERS_FAULTS:
        wait_seconds = int(answer.retry_after_seconds or RETRY_AFTER_SECONDS)
        headers = {"Retry-After": str(wait_seconds)}
        return HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "Events are not taken now; send them again.", headers)
    said = _said(answer.body)
    messages = [each.message for each in said.errors]
    messages += [f"line {each.line}: {each.reason}" for each in said.rejected[:REASONS_MAX]]
    return Problem(answer.status, [{"message": each} for each in messages or ["The events were refused."]])
