"""Request ids: each request has one, its answer carries it, and so does every log line that is written on the way."""

from __future__ import annotations

import re
import uuid
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER: Final = b"x-request-id"
_SANE: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")  # fits a log line and a header whatever reads it


class RequestIds:
    """Takes the sender's id where it is sane, so that its logs and ours meet; else makes one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; other scopes pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said: bytes = next((value for name, value in scope["headers"] if name == HEADER), b"")
        request_id = said if _SANE.fullmatch(said) else uuid.uuid4().hex.encode()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (HEADER, request_id)]}
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id.decode()):
            await self._app(scope, receive, send_with_id)
