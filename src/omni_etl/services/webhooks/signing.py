"""Signing: a batch's signature as Standard Webhooks has it (https://www.standardwebhooks.com); pure.

What is signed is `<batch id>.<seconds of the attempt>.<body>`: a receiver refuses what is old, and knows a repetition by the id.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from omni_etl.webhook import SECRET_PREFIX

KEY_BYTES: Final = range(24, 65)  # by the specification


def signature_headers(batch_id: str, body: bytes, *, secrets: Sequence[str], at_seconds: int) -> dict[str, str]:
    """The three headers, with one signature for each secret, so that a receiver may know any of them; none without secrets.

    Raises:
        ValueError: a secret that is none; the message does not repeat it.

    """
    if not secrets:
        return {}
    signed = b"%b.%d.%b" % (batch_id.encode(), at_seconds, body)
    return {
        "webhook-id": batch_id,
        "webhook-timestamp": str(at_seconds),
        "webhook-signature": " ".join(f"v1,{_signature(key_of(each), signed)}" for each in secrets),
    }


def key_of(secret: str) -> bytes:
    """The key that a secret spells.

    Raises:
        ValueError: not `whsec_` and the base64 of 24 to 64 bytes; the message does not repeat it.

    """
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) not in KEY_BYTES:
        raise ValueError("not a signing secret: whsec_ and the base64 of 24 to 64 bytes")
    return key


def _signature(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
