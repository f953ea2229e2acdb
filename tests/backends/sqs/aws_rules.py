"""What AWS refuses in a batch and moto lets pass; from botocore's model of SQS and the developer guide."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

MIB = 1024 * 1024
ATTRIBUTES_MAX = 10
BATCH_COUNT_MAX = 10
NAME = re.compile(r"(?!AWS\.|Amazon\.)(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")
ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Refusal = tuple[str, str]
"""Code and message, as SQS words them."""


def size_bytes(entry: Mapping[str, Any]) -> int:
    """UTF-8 bytes of the body; of each attribute the bytes of name, type and raw value."""
    size = len(entry.get("MessageBody", "").encode("utf-8", "surrogatepass"))
    for name, attribute in entry.get("MessageAttributes", {}).items():
        size += len(name.encode()) + len(attribute["DataType"].encode()) + len(_value(attribute))
    return size


def call_refused(entries: Sequence[Mapping[str, Any]]) -> Refusal | None:
    """Why the whole call is refused."""
    ids = [str(each.get("Id", "")) for each in entries]
    if not entries:
        return "EmptyBatchRequest", "There should be at least one entry in the request."
    if len(entries) > BATCH_COUNT_MAX:
        return (
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are 10. You have sent {len(ids)}.",
        )
    if len(set(ids)) < len(ids):
        return "BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id."
    if not all(ENTRY_ID.fullmatch(each) for each in ids):
        return "InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens, underscores."
    total = sum(map(size_bytes, entries))
    if total > MIB:
        return (
            "BatchRequestTooLong",
            f"Batch requests cannot be longer than 1048576 bytes. You have sent {total} bytes.",
        )
    return None


def entry_refused(entry: Mapping[str, Any], message_bytes_max: int) -> Refusal | None:
    """Why one message of a send is refused, alone."""
    attributes = entry.get("MessageAttributes", {})
    if size_bytes(entry) > message_bytes_max:
        return (
            "InvalidParameterValue",
            f"One or more parameters are invalid. Message must be shorter than {message_bytes_max} bytes.",
        )
    if not entry.get("MessageBody"):
        return "MissingParameter", "The request must contain the parameter MessageBody."
    if len(attributes) > ATTRIBUTES_MAX:
        return (
            "InvalidParameterValue",
            f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [10].",
        )
    texts = [entry["MessageBody"], *(each["StringValue"] for each in attributes.values() if "StringValue" in each)]
    if any(FORBIDDEN.search(each) for each in texts):
        return "InvalidMessageContents", "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | …"
    for name, attribute in attributes.items():
        if not NAME.fullmatch(name) or not _value(attribute):
            return "InvalidParameterValue", f"The message attribute '{name}' is invalid."
    return None


def _value(attribute: Mapping[str, Any]) -> bytes:
    if "BinaryValue" in attribute:
        return base64.b64decode(attribute["BinaryValue"])
    return str(attribute.get("StringValue", "")).encode("utf-8", "surrogatepass")
