"""Who may call: `Authorization: <key>` bare, or `Basic base64("<key>:")`, as SparkPost's clients send it."""

from __future__ import annotations

import base64
import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from fastapi import Depends, HTTPException, Request
from fastapi.security import APIKeyHeader

from omni_etl.api.caller import Caller, caller
from omni_etl.api.problems import plain

_SCHEME: Final = APIKeyHeader(
    name="Authorization",
    scheme_name="key",
    description="The API key as it is; or `Basic` and base64 of the key and a colon, as `curl -u KEY:` sends it.",
    auto_error=False,
)


async def require_key(request: Request, header: str | None = Depends(_SCHEME)) -> None:
    """Let a known key pass, and say who it is in `request.state.caller`.

    Raises:
        Problem: 401 without one.

    """
    secret = key_of(header or "")
    key = await request.app.state.known_keys.verify(secret) if secret else None
    if key is None:
        raise plain(HTTPStatus.UNAUTHORIZED, "Unauthorized.")
    request.state.caller = Caller(key.id, key.subaccount_id, key.grants)


def needs(grant: str) -> Callable[..., Awaitable[None]]:
    """A dependency of a route, `Depends(needs("metrics/view"))`: let a known key pass that has this grant."""

    async def require_grant(request: Request, _known: None = Depends(require_key)) -> None:
        caller(request).needs(grant)

    return require_grant


async def require_everything(request: Request, _known: None = Depends(require_key)) -> None:
    """For what tells of the whole system: a key of the primary account, without a list of grants.

    Raises:
        Problem: 403.

    """
    who = caller(request)
    if who.subaccount_id is not None or who.grants is not None:
        raise plain(HTTPStatus.FORBIDDEN, "Forbidden.")


async def within_rate(request: Request, _known: None = Depends(require_key)) -> None:
    """Let a key pass that does not ask too often.

    Raises:
        HTTPException: 429, with the seconds to wait.

    """
    wait_seconds = request.app.state.parts.rate.wait_seconds(caller(request).key_id)
    if wait_seconds:
        headers = {"Retry-After": str(math.ceil(wait_seconds))}
        raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests", headers)


def key_of(header: str) -> str:
    """The key in an Authorization header, or an empty text."""
    scheme, _, rest = header.strip().partition(" ")
    if not rest:
        return scheme
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest, validate=True).decode().partition(":")[0]
    except ValueError:  # not base64, or what it holds is no UTF-8
        return ""
