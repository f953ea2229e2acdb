"""Tokens: what OAuth 2 webhooks authorize themselves with; asked for where the last one expired or was refused.

The database has the token of the last create or update. Newer ones are this process's own: a write for each would race
with the customer's changes, and another process asks for its own at the same price.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlencode

import msgspec

from omni_etl.clock import Clock
from omni_etl.poster import Answer, Poster
from omni_etl.webhook import TokenRequest, Webhook

EARLY_MS: Final = 30_000  # a token that ends sooner may end before the customer looks at it
PAUSE_SECONDS: Final = 2.0  # between two requests for one webhook; less than the first wait between attempts
EXPIRES_SECONDS_MAX: Final = 10 * 365 * 86_400
TOKEN: Final = re.compile(
    r"[\x21-\x7e]{1,8000}"
)  # what fits a header (RFC 6749, A.12); servers take some 8 KiB of them
FORM: Final[Mapping[str, str]] = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Accept": "application/json",
    "User-Agent": "SparkPost",
}


@dataclass(frozen=True, slots=True)
class Token:
    """The Authorization value, and when it ends."""

    header: str | None = field(repr=False)
    expires_at_ms: int | None


@dataclass(slots=True)
class _Known:
    """The last that we heard for one webhook, as long as the customer does not change it."""

    of: tuple[TokenRequest, str | None]
    heard: Token | Answer
    heard_at: float = -math.inf
    is_refused: bool = False
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Tokens:
    """One request at a time for each webhook; whoever waits meanwhile takes its answer."""

    def __init__(self, poster: Poster, clock: Clock) -> None:
        self._poster = poster
        self._clock = clock
        self._known: dict[str, _Known] = {}

    async def authorized(self, webhook: Webhook) -> Webhook | Answer:
        """The webhook with a token that should be good, or what went wrong at the token's server."""
        request = webhook.token_request
        if request is None:
            return webhook
        known = self._known.get(webhook.id)
        if known is None or known.of != (request, webhook.auth_header):
            stored = Token(webhook.auth_header, webhook.token_expires_at_ms)
            known = self._known[webhook.id] = _Known((request, webhook.auth_header), stored)
        async with known.asking:
            if self._is_spent(known) and self._clock.monotonic() >= known.heard_at + PAUSE_SECONDS:
                known.heard = await ask_token(self._poster, request, self._clock)
                known.heard_at, known.is_refused = self._clock.monotonic(), False
        if isinstance(known.heard, Answer):
            return known.heard
        return replace(webhook, auth_header=known.heard.header, token_expires_at_ms=known.heard.expires_at_ms)

    def refused(self, webhook: Webhook) -> None:
        """The customer did not take this webhook's token: another is asked for before the next attempt."""
        known = self._known.get(webhook.id)
        if known is not None and isinstance(known.heard, Token) and known.heard.header == webhook.auth_header:
            known.is_refused = True

    def _is_spent(self, known: _Known) -> bool:
        if isinstance(known.heard, Answer) or known.is_refused:
            return True
        ends = known.heard.expires_at_ms
        return ends is not None and self._clock.now() * 1000 >= ends - EARLY_MS


async def ask_token(poster: Poster, request: TokenRequest, clock: Clock) -> Token | Answer:
    """Ask once, as a form (RFC 6749, 4.4.2). A token that no header can carry is a failure too."""
    answer = await poster.post(request.url, urlencode(request.body).encode(), FORM)
    if not answer.ok:
        return replace(answer, reason=f"token: {answer.reason}")
    try:
        granted = _granted.decode(answer.body)
        seconds = float(granted.expires_in) if granted.expires_in is not None else math.nan
    except (msgspec.DecodeError, ValueError, RecursionError):  # the last for what is nested thousands deep
        granted, seconds = _Granted(""), math.nan
    if not TOKEN.fullmatch(granted.access_token):
        return replace(answer, status=None, reason="token: the answer has no access_token that fits a header")
    if not 0 <= seconds <= EXPIRES_SECONDS_MAX:
        return Token(f"Bearer {granted.access_token}", None)
    return Token(f"Bearer {granted.access_token}", int((clock.now() + seconds) * 1000))


class _Granted(msgspec.Struct):
    access_token: str
    expires_in: float | str | None = None  # some servers write it as a text


_granted: Final = msgspec.json.Decoder(_Granted)
