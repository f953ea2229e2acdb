"""The target test: a POST as the deliverer would make it, before anything is kept; failures in words for the customer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from omni_etl.api.problems import Problem
from omni_etl.clock import Clock
from omni_etl.outbox import Batch
from omni_etl.poster import Answer, Poster
from omni_etl.services.webhooks.attempt import headers_of
from omni_etl.services.webhooks.tokens import ask_token
from omni_etl.webhook import Webhook

PROBE: Final = b'[{"msys":{}}]'
TEST_BATCH_ID: Final = "77c2b630-d712-11e4-9642-efc2723b99c1"  # SparkPost's, for every test
SHOWN_CHARACTERS_MAX: Final = 4_000

# Node's names, as SparkPost shows them, for the kinds of trouble that a poster tells of.
ERROR_CODES: Final[Mapping[str, str]] = {
    "connect": "ECONNREFUSED",
    "connection": "ECONNRESET",
    "dns": "ENOTFOUND",
    "refused": "EACCES",
    "target": "EINVAL",
    "timeout": "ETIMEDOUT",
    "tls": "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "token": "ETOKEN",  # ours: there was no token to try it with
}


async def with_new_token(webhook: Webhook, *, poster: Poster, clock: Clock) -> Webhook:
    """An OAuth 2 webhook with a token asked for now; another as it is.

    Raises:
        Problem: 400, what the token's server answered.

    """
    if webhook.token_request is None:
        return webhook
    token = await ask_token(poster, webhook.token_request, clock)
    if isinstance(token, Answer):
        raise _failed("POST to webhook tokens URL failed", replace(token, reason=token.reason.removeprefix("token: ")))
    return replace(webhook, auth_header=token.header, token_expires_at_ms=token.expires_at_ms)


async def probe(webhook: Webhook, *, poster: Poster, clock: Clock, body: bytes = PROBE) -> dict[str, Any]:
    """What the target answered, any 2xx; redirects are not followed.

    Raises:
        Problem: 400, any other answer, or why there was none.

    """
    batch = Batch(TEST_BATCH_ID, webhook.id, webhook.target, webhook.custom_headers, body, event_count=0)
    headers = headers_of(batch, webhook, now_ms=int(clock.now() * 1000))
    answer = await poster.post(webhook.target, body, {**headers, "Connection": "close"})
    if answer.ok:
        return _shown(answer)
    if answer.status is None:
        raise _failed(f"POST to webhook target URL failed with error code {error_code(answer.reason)}", answer)
    raise _failed(f"POST to webhook target URL failed with non-2xx response code {answer.status}", answer)


def error_code(reason: str) -> str:
    """A name for why no answer came: of a poster's reason, "dns: Name or service not known"."""
    kind = re.match("[a-z]*", reason)
    return ERROR_CODES.get(kind[0] if kind else "", "EOTHER")


def _failed(message: str, answer: Answer) -> Problem:
    error: dict[str, Any] = {"code": HTTPStatus.BAD_REQUEST.value, "message": message, "response": _shown(answer)}
    if answer.status is None:
        # Which address an inner name has is nobody's business.
        is_inner = answer.reason.startswith("refused:") and answer.reason.endswith(" is not a public address")
        error["description"] = "refused: not a public address" if is_inner else answer.reason
    return Problem(HTTPStatus.BAD_REQUEST, [error])


def _shown(answer: Answer) -> dict[str, Any]:
    """Whatever bytes came, as text; empty where no answer came."""
    if answer.status is None:
        return {}
    headers: dict[str, str] = {}
    for name, value in answer.headers.items():
        known = headers.get(name.lower())
        headers[_text(name.lower())] = _text(value if known is None else f"{known}, {value}")
    body = answer.body.decode(errors="replace")[:SHOWN_CHARACTERS_MAX]
    return {"status": answer.status, "headers": headers, "body": body}


def _text(value: str) -> str:
    """Header bytes that are no UTF-8 come as lone surrogates, which JSON does not take."""
    return value.encode(errors="replace").decode()
