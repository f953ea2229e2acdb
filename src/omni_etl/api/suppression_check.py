"""The suppression check in front of everything else: mail servers ask it of each message, so it must cost next to nothing.

Through FastAPI a check took three times as long. What is here is only the way of a plain question to a plain answer; whatever
else there is (a parameter, a body, a key that may not, an engine that is away) goes the long way, so that each refusal has one
place. Both ways answer the same bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from omni_etl.api.auth import key_of
from omni_etl.api.caller import SUBACCOUNT_HEADER, subaccount_of
from omni_etl.api.key_first import has_body
from omni_etl.api.problems import Problem
from omni_etl.api.suppression_members import found
from omni_etl.errors import UnavailableError
from omni_etl.keys import ApiKey
from omni_etl.suppression_list import SuppressionList

VIEW: Final = "suppression_list/view"
UNKNOWN: Final = "Recipient could not be found"
AUTHORIZATION: Final = b"authorization"
SUBACCOUNT: Final = SUBACCOUNT_HEADER.lower().encode()
HEADERS: Final = frozenset({AUTHORIZATION, SUBACCOUNT})
RESERVED: Final = frozenset({"", "summary", "changes"})
_UNKNOWN: Final = b'{"errors":[{"message":"%s"}]}' % UNKNOWN.encode()


class QuickCheck:
    """GETs of one recipient, without a query."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        prefix: str,
        verify: Callable[[str], Awaitable[ApiKey | None]],
        suppression_list: SuppressionList,
    ) -> None:
        self._app = app
        self._prefix = f"{prefix}/suppression-list/"
        self._verify = verify
        self._list = suppression_list

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; whatever is no such question passes."""
        answer = None
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"].startswith(self._prefix):
            answer = await self._answer(scope, scope["path"][len(self._prefix) :])
        if answer is None:
            await self._app(scope, receive, send)
            return
        status, body = answer
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, recipient: str) -> tuple[int, bytes] | None:
        if recipient in RESERVED or recipient.endswith("/") or scope["query_string"] or has_body(scope):
            return None
        said = {name: value.decode("latin-1") for name, value in reversed(scope["headers"]) if name in HEADERS}
        try:
            secret = key_of(said.get(AUTHORIZATION, ""))
            key = await self._verify(secret) if secret else None
            if key is None or (key.grants is not None and VIEW not in key.grants):
                return None
            own = key.subaccount_id
            meant = subaccount_of(said.get(SUBACCOUNT, "")) if own is None else own
            entries = await self._list.check(recipient, meant)
        except (Problem, UnavailableError):
            return None
        return (200, found(entries, total_count=len(entries))) if entries else (404, _UNKNOWN)
