"""Webhooks: create, list, read, delete, with SparkPost's members. Secrets are never shown."""

from __future__ import annotations

import base64
import re
import uuid
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Header, HTTPException, Request, Response
from pydantic import BaseModel, Field

from omni_etl.event import SUBACCOUNT_ID_MAX, TYPES
from omni_etl.webhook import SUBACCOUNTS_ALL, Webhook

HEADERS_BYTES_MAX: Final = 3_000  # names and values together, as at SparkPost
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2, token
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_TARGET: Final = re.compile(r"[\x21-\x7e]+")  # urlsplit drops line ends silently, and the sender would not

router = APIRouter()


class Credentials(BaseModel):
    """For `auth_type` basic."""

    username: str
    password: str = ""


class NewWebhook(BaseModel):
    """The body of `POST /webhooks`; unknown members are ignored, as at SparkPost."""

    name: str = Field(min_length=1, max_length=1024)
    target: str = Field(max_length=4096)
    events: list[str] = Field(min_length=1)
    active: bool = True
    custom_headers: dict[str, str] = Field(default_factory=dict, max_length=5)
    exception_subaccounts: list[int] = Field(default_factory=list, max_length=10)
    auth_type: Literal["none", "basic"] = "none"
    auth_credentials: Credentials | None = None


@router.post("/webhooks")
async def create(
    request: Request,
    body: NewWebhook,
    x_msys_subaccount: Annotated[int | None, Header(ge=0, le=SUBACCOUNT_ID_MAX)] = None,
) -> dict[str, Any]:
    """Keep a webhook; without the subaccount header it hears of the primary account and all subaccounts."""
    webhook = made(body, x_msys_subaccount)
    await request.app.state.parts.webhooks.put(webhook)
    return {"results": {"id": webhook.id, "links": [_link(webhook.id)]}}


@router.get("/webhooks")
async def read_all(request: Request) -> dict[str, Any]:
    """Every webhook."""
    return {"results": [_shown(each) for each in await request.app.state.parts.webhooks.all()]}


@router.get("/webhooks/{webhook_id}")
async def read(request: Request, webhook_id: str) -> dict[str, Any]:
    """One webhook."""
    found = [each for each in await request.app.state.parts.webhooks.all() if each.id == webhook_id]
    if not found:
        raise HTTPException(HTTPStatus.NOT_FOUND, "Webhook could not be found")
    return {"results": _shown(found[0])}


@router.delete("/webhooks/{webhook_id}", status_code=HTTPStatus.NO_CONTENT)
async def delete(request: Request, webhook_id: str) -> Response:
    """Forget it; batches that were cut still go out."""
    if not await request.app.state.parts.webhooks.delete(webhook_id):
        raise HTTPException(HTTPStatus.NOT_FOUND, "Webhook could not be found")
    return Response(status_code=HTTPStatus.NO_CONTENT)


def made(body: NewWebhook, subaccount_id: int | None) -> Webhook:
    """The webhook that this body asks for, with a new id.

    Raises:
        HTTPException: 400, with the member that is wrong.

    """
    return Webhook(
        id=str(uuid.uuid4()),
        name=body.name,
        target=_checked_target(body.target),
        events=_checked_events(body.events),
        subaccount_id=SUBACCOUNTS_ALL if subaccount_id is None else subaccount_id,
        exception_subaccounts=frozenset(body.exception_subaccounts),
        active=body.active,
        custom_headers=_checked_headers(body.custom_headers),
        auth_header=_auth_header(body),
    )


def _checked_target(target: str) -> str:
    try:
        parts = urlsplit(target)
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.username is None
        is_good = is_good and parts.port != 0 and _TARGET.fullmatch(target) is not None
    except ValueError:  # a bracket without its other, a port that is none
        is_good = False
    if not is_good:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "'target' must be an http or https URL without credentials")
    return target


def _checked_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise HTTPException(HTTPStatus.BAD_REQUEST, f"'custom_headers': {name[:64]!r} holds invalid characters")
    if sum(len(name) + len(value) for name, value in headers.items()) > HEADERS_BYTES_MAX:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"'custom_headers' may hold {HEADERS_BYTES_MAX} bytes")
    return headers


def _checked_events(events: list[str]) -> frozenset[str]:
    unknown = sorted(set(events) - TYPES)
    if unknown:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"'events' holds unknown types: {', '.join(unknown)[:200]}")
    return frozenset(events)


def _auth_header(body: NewWebhook) -> str | None:
    if body.auth_type == "none":
        return None
    if body.auth_credentials is None:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "'auth_credentials' is required for auth_type basic")
    pair = f"{body.auth_credentials.username}:{body.auth_credentials.password}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _shown(webhook: Webhook) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": webhook.id,
        "name": webhook.name,
        "target": webhook.target,
        "events": sorted(webhook.events),
        "active": webhook.active,
        "custom_headers": dict(webhook.custom_headers),
        "exception_subaccounts": sorted(webhook.exception_subaccounts),
        "auth_type": "basic" if webhook.auth_header else "none",
        "links": [_link(webhook.id)],
    }
    if webhook.subaccount_id > 0:
        shown["subaccount_id"] = webhook.subaccount_id
    return shown


def _link(webhook_id: str) -> dict[str, Any]:
    href = f"/api/v1/webhooks/{webhook_id}"
    return {"href": href, "rel": "urn.msys.webhooks.webhook", "method": ["GET", "DELETE"]}
