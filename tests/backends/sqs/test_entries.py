"""backends.sqs.entries: there and back, checksum by checksum."""

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_etl.backends.sqs.entries import (
    Payload,
    attributes_checksum,
    body_checksum,
    difference_kept,
    difference_received,
    to_entry,
    to_envelope,
)
from omni_etl.envelope import SealedEnvelope

ENVELOPE = SealedEnvelope('{"version":1}', b"\x00\xff\n")


def received(entry: dict[str, Any]) -> dict[str, Any]:
    """As SQS hands out what was sent."""
    attributes = entry.get("MessageAttributes", {})
    message = {"Body": entry["MessageBody"], "MD5OfBody": body_checksum(entry["MessageBody"])}
    if not attributes:
        return message
    return message | {"MessageAttributes": attributes, "MD5OfMessageAttributes": attributes_checksum(attributes)}


@given(st.binary(min_size=1), st.sampled_from(["attribute", "body"]))
def test_an_envelope_comes_back_as_it_was(payload: bytes, form: Payload) -> None:
    """Every byte, in both forms."""
    envelope = SealedEnvelope('{"version":1}', payload)
    message = received(to_entry(3, envelope, form))
    assert difference_received(message) is None
    assert to_envelope(message) == envelope


def test_in_the_body_the_payload_is_a_second_line_of_base64() -> None:
    """Which other tools can read."""
    entry = to_entry(3, ENVELOPE, "body")
    assert entry == {"Id": "3", "MessageBody": '{"version":1}\n' + base64.b64encode(b"\x00\xff\n").decode()}


def test_checksums_are_those_of_the_developer_guide() -> None:
    """Length and bytes of name, type, transport type and value, by name; a String beside our Binary counts too."""
    attributes: dict[str, dict[str, Any]] = {
        "payload": {"DataType": "Binary", "BinaryValue": b"\x01\x02"},
        "a": {"DataType": "String", "StringValue": "é"},
    }
    spelled = (
        b"\0\0\0\x01a\0\0\0\x06String\x01\0\0\0\x02\xc3\xa9\0\0\0\x07payload\0\0\0\x06Binary\x02\0\0\0\x02\x01\x02"
    )
    assert attributes_checksum(attributes) == hashlib.md5(spelled).hexdigest()


@pytest.mark.parametrize("name", ["MD5OfMessageBody", "MD5OfMessageAttributes"])
def test_what_is_kept_otherwise_is_seen(name: str) -> None:
    """A missing checksum is a wrong one."""
    entry = to_entry(0, ENVELOPE, "attribute")
    kept = {
        "MD5OfMessageBody": body_checksum(ENVELOPE.header),
        "MD5OfMessageAttributes": attributes_checksum(entry["MessageAttributes"]),
    }
    assert difference_kept(entry, kept) is None
    assert difference_kept(entry, kept | {name: "0"}) is not None
    assert difference_kept(entry, {key: value for key, value in kept.items() if key != name}) is not None


@pytest.mark.parametrize("change", [{"Body": "x"}, {"MD5OfBody": ""}, {"MD5OfMessageAttributes": "0"}])
def test_what_was_damaged_on_its_way_is_seen(change: dict[str, str]) -> None:
    """Body or payload."""
    assert difference_received(received(to_entry(0, ENVELOPE, "attribute")) | change) is not None


@pytest.mark.parametrize("body", ["", "hello", "two\nlines, no base64", '{"version":1}\n====='])
def test_what_is_not_ours_has_no_payload(body: str) -> None:
    """It becomes an envelope that does not open."""
    assert to_envelope({"Body": body}).payload == b""


@pytest.mark.parametrize("body", ["hello\nwörld", "\n\x00", "a\nb\nc", "{}\n=", "{}\n☃"])
def test_a_strangers_message_does_not_open(body: str) -> None:
    """Also one whose second line is not even ASCII: it becomes an envelope for the unreadable, and ends no parent."""
    assert to_envelope({"Body": body}).payload == b""
