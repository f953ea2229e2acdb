"""An envelope as SQS carries it, and back. Checksums are verified here, both ways, because botocore does not.

The header is the body. The payload is a Binary attribute, which AWS counts raw, or, where other tools want a plain body,
a second line of base64. Both forms are understood whatever this process writes, so a fleet may change over while it runs.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final, Literal

from omni_etl.envelope import SealedEnvelope
from omni_etl.queue import PAYLOAD_ATTRIBUTE, PAYLOAD_TYPE

Payload = Literal["attribute", "body"]
STRING: Final = b"\x01"  # transport types in an attribute's checksum (SQS developer guide, message metadata)
BINARY: Final = b"\x02"


def to_entry(position: int, envelope: SealedEnvelope, payload: Payload) -> dict[str, Any]:
    """One entry of a send; its id is its position, because ids must differ within a call (awspring#1634)."""
    if payload == "body":
        text = base64.b64encode(envelope.payload).decode()
        return {"Id": str(position), "MessageBody": f"{envelope.header}\n{text}"}
    attribute = {"DataType": PAYLOAD_TYPE, "BinaryValue": envelope.payload}
    return {
        "Id": str(position),
        "MessageBody": envelope.header,
        "MessageAttributes": {PAYLOAD_ATTRIBUTE: attribute},
    }


def difference_kept(entry: Mapping[str, Any], kept: Mapping[str, Any]) -> str | None:
    """Where what SQS says it keeps is not what we sent; None where it is."""
    attributes = entry.get("MessageAttributes", {})
    if kept.get("MD5OfMessageBody") != body_checksum(entry["MessageBody"]):
        return "SQS keeps another body than was sent"
    if attributes and kept.get("MD5OfMessageAttributes") != attributes_checksum(attributes):
        return "SQS keeps another payload than was sent"
    return None


def difference_received(message: Mapping[str, Any]) -> str | None:
    """Where a message was damaged on its way to us; None where it was not."""
    attributes = message.get("MessageAttributes", {})
    if message.get("MD5OfBody") != body_checksum(message.get("Body", "")):
        return "the body does not match its checksum"
    if attributes and message.get("MD5OfMessageAttributes") != attributes_checksum(attributes):
        return "the payload does not match its checksum"
    return None


def to_envelope(message: Mapping[str, Any]) -> SealedEnvelope:
    """What was sent. What is not ours becomes an envelope that does not open, for the unreadable."""
    body = message.get("Body", "")
    attribute = message.get("MessageAttributes", {}).get(PAYLOAD_ATTRIBUTE)
    if attribute is not None:
        return SealedEnvelope(body, attribute.get("BinaryValue", b""))
    header, _, text = body.partition("\n")
    try:
        return SealedEnvelope(header, base64.b64decode(text, validate=True))
    except ValueError:  # not base64, or not even ASCII
        return SealedEnvelope(body, b"")


def body_checksum(body: str) -> str:
    """As in `MD5OfMessageBody`."""
    return hashlib.md5(body.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def attributes_checksum(attributes: Mapping[str, Mapping[str, Any]]) -> str:
    """As in `MD5OfMessageAttributes`: name, type, transport type and value of each, by name."""
    digest = hashlib.md5(usedforsecurity=False)
    for name, attribute in sorted(attributes.items()):
        is_binary = attribute["DataType"].startswith("Binary")
        value = attribute["BinaryValue"] if is_binary else attribute["StringValue"].encode()
        for part in (name.encode(), attribute["DataType"].encode()):
            digest.update(len(part).to_bytes(4, "big") + part)
        digest.update((BINARY if is_binary else STRING) + len(value).to_bytes(4, "big"))
        digest.update(value)
    return digest.hexdigest()
