"""backends.sqs.sizes: what fits by our count fits by that of AWS."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.backends.sqs.aws_rules import MIB, call_refused, entry_refused, size_bytes

from omni_etl.backends.sqs.entries import Payload, to_entry
from omni_etl.backends.sqs.sizes import limits
from omni_etl.envelope import SealedEnvelope
from omni_etl.queue import entry_bytes


def as_sent(envelope: SealedEnvelope, payload: Payload, position: int = 0) -> dict[str, object]:
    """An entry as it is on the wire."""
    entry = to_entry(position, envelope, payload)
    for attribute in entry.get("MessageAttributes", {}).values():
        attribute["BinaryValue"] = base64.b64encode(attribute["BinaryValue"]).decode()
    return entry


@given(st.text(alphabet="aé\U0001f600", min_size=1, max_size=50), st.binary(min_size=1, max_size=50))
def test_our_count_is_that_of_aws(header: str, payload: bytes) -> None:
    """UTF-8 bytes, names, types and raw values."""
    envelope = SealedEnvelope(header, payload)
    assert entry_bytes(envelope) == size_bytes(as_sent(envelope, "attribute"))


@pytest.mark.parametrize("payload", ["attribute", "body"])
@pytest.mark.parametrize("message_bytes_max", [1024, 262_144, MIB - 1, MIB])
@pytest.mark.parametrize("header_bytes", [1, 2, 3, 700])
def test_the_largest_that_we_allow_is_allowed(payload: Payload, message_bytes_max: int, header_bytes: int) -> None:
    """Whatever the header's share."""
    room = limits(message_bytes_max, payload).entry_bytes_max
    empty = entry_bytes(SealedEnvelope("h" * header_bytes, b""))
    largest = SealedEnvelope("h" * header_bytes, b"x" * (room - empty))
    assert entry_refused(as_sent(largest, payload), message_bytes_max) is None
    if payload == "attribute":
        larger = SealedEnvelope(largest.header, largest.payload + b"x")
        assert entry_refused(as_sent(larger, payload), message_bytes_max) is not None


@pytest.mark.parametrize("payload", ["attribute", "body"])
def test_the_largest_batch_that_we_allow_is_allowed(payload: Payload) -> None:
    """All of a batch together have the room of one message, too."""
    room = limits(MIB, payload)
    empty = entry_bytes(SealedEnvelope("h", b""))
    each = SealedEnvelope("h", b"x" * (room.batch_bytes_max // room.batch_count_max - empty))
    assert call_refused([as_sent(each, payload, number) for number in range(room.batch_count_max)]) is None
