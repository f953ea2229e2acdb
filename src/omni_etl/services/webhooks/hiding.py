"""Hiding: a server that echoes its request must not put our secrets into the log of attempts, which more people may read; pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from omni_etl.poster import Answer
from omni_etl.services.webhooks.verdict import EXCERPT_CHARACTERS_MAX
from omni_etl.webhook import Webhook

BYTES_MAX: Final = 8 * EXCERPT_CHARACTERS_MAX  # of an answer, of which the excerpt is the beginning: none is cut in two
CHARACTERS_MIN: Final = 4  # of a secret: less stands in any text
HIDDEN: Final = b"***"


def without_secrets(answer: Answer, webhook: Webhook) -> Answer:
    """With three stars for each secret that was sent to get this answer, as it was sent or as it is known to its owner."""
    body = answer.body[:BYTES_MAX]
    for secret in sorted(set(_secrets(webhook)), key=len, reverse=True):  # one may hold another
        if len(secret) >= CHARACTERS_MIN:
            body = body.replace(secret.encode(), HIDDEN)
    return answer if body == answer.body else replace(answer, body=body)


def _secrets(webhook: Webhook) -> Iterator[str]:
    if webhook.auth_token is not None:
        yield webhook.auth_token
    if webhook.token_request is not None:
        yield from webhook.token_request.body.values()
    if webhook.auth_header is not None:
        kind, _, credentials = webhook.auth_header.partition(" ")
        yield webhook.auth_header
        yield credentials
        if kind == "Basic":
            yield _password(credentials)


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
