"""Limit: how long a request body may be, alone and together with others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omni_etl.api.key_first import has_body

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """`longer` names the calls, by method and path, that may bring more."""

    bytes_max: int = 10 * MIB
    longer: Mapping[tuple[str, str], int] = field(default_factory=dict)
    held_bytes_max: int = 256 * MIB  # of all requests that are being answered
    seconds_max: float = 120.0  # for a body to come

    def of(self, method: str, path: str) -> int:
        """The most that this call may bring."""
        return self.longer.get((method, path), self.bytes_max)


class BodyLimit:
    """Reads the whole body: 413 to one that is too long, 408 to one that does not end, 503 when there are too many."""

    def __init__(self, app: ASGIApp, limits: BodyLimits) -> None:
        self._app = app
        self._limits = limits
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; other scopes pass, and so does a request without a body."""
        if scope["type"] != "http" or not has_body(scope):
            await self._app(scope, receive, send)
            return
        bytes_max = self._limits.of(scope["method"], scope["path"])
        said = dict(scope["headers"]).get(b"content-length", b"0")
        async with AsyncExitStack() as held:
            if not said.isdigit() or int(said) > bytes_max:
                await _refuse(send, _too_long(bytes_max))
                return
            try:
                async with asyncio.timeout(self._limits.seconds_max):
                    body = await self._read(receive, bytes_max, held)
            except TimeoutError:
                body = _Refusal(HTTPStatus.REQUEST_TIMEOUT, "The body did not come in time.")
            if isinstance(body, _Refusal):
                await _refuse(send, body)
            elif body is not None:
                await self._app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive, bytes_max: int, held: AsyncExitStack) -> bytes | _Refusal | None:
        """The whole body, why it is refused, or None where the sender went: half a body is none."""
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > bytes_max:
                return _too_long(bytes_max)
            if self._held_bytes + len(chunk) > self._limits.held_bytes_max:
                return _Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "Too many long bodies at the same time.")
            self._held_bytes += len(chunk)
            held.callback(self._let_go, len(chunk))
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)

    def _let_go(self, size: int) -> None:
        self._held_bytes -= size


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: HTTPStatus
    text: str


def _too_long(bytes_max: int) -> _Refusal:
    return _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is longer than {bytes_max} bytes.")


async def _refuse(send: Send, refusal: _Refusal) -> None:
    """The rest of the body is not read: the server closes the connection."""
    body = json.dumps({"errors": [{"message": refusal.text}]}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", b"2"))
    await send({"type": "http.response.start", "status": refusal.status.value, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body once, as one message; then what the server still has to say (that the client went)."""
    is_told = False

    async def tell() -> Message:
        nonlocal is_told
        if is_told:
            return await receive()
        is_told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return tell
