"""The key first: no body is read, kept or parsed for somebody unknown. FastAPI parses it before any dependency is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from omni_etl.api import failures, problems
from omni_etl.api.auth import key_of
from omni_etl.api.problems import plain
from omni_etl.errors import UnavailableError
from omni_etl.keys import ApiKey


class KeyFirst:
    """401 to a request with a body below `prefix` whose key nobody knows; what it may do, its route says."""

    def __init__(self, app: ASGIApp, *, prefix: str, verify: Callable[[str], Awaitable[ApiKey | None]]) -> None:
        self._app = app
        self._prefix = prefix
        self._verify = verify

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; other scopes pass."""
        if scope["type"] != "http" or not scope["path"].startswith(self._prefix) or not has_body(scope):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            secret = key_of(request.headers.get("authorization", ""))
            known = await self._verify(secret) if secret else None
        except UnavailableError as error:
            await (await failures.unavailable(request, error))(scope, receive, send)
            return
        if known is None:
            await (await problems.answer(request, plain(HTTPStatus.UNAUTHORIZED, "Unauthorized.")))(
                scope, receive, send
            )
            return
        await self._app(scope, receive, send)


def has_body(scope: Scope) -> bool:
    """One of two headers says so (RFC 9112 6.3)."""
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])
