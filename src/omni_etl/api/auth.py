"""Who may call: `Authorization: <key>` bare, or `Basic base64("<key>:")`, as SparkPost's clients send it."""

from __future__ import annotations

import base64
import binascii
from http import HTTPStatus

from fastapi import HTTPException, Request

from omni_etl.api.caller import Caller


async def require_key(request: Request) -> None:
    """Let a known key pass.

    Raises:
        HTTPException: 401 without one.

    """
    secret = key_of(request.headers.get("authorization", ""))
    key = await request.app.state.parts.keys.verify(secret) if secret else None
    if key is None:
        raise HTTPException(HTTPStatus.UNAUTHORIZED, "Unauthorized.")
    request.state.caller = Caller(key.id)


def key_of(header: str) -> str:
    """The key in an Authorization header, or an empty text."""
    scheme, _, rest = header.strip().partition(" ")
    if not rest:
        return scheme
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest, validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""
