"""What comes over pipes and queues: frames between parent and child, and messages of SQS."""

import asyncio
import base64
import struct
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import strategies as st
from tests.builders import line, sealed
from tests.fuzz.budget import MIB, altered, fuzz, odd_json, odd_text, within_memory

from omni_etl.backends.sqs.entries import (
    Payload,
    attributes_checksum,
    body_checksum,
    difference_received,
    to_entry,
    to_envelope,
)
from omni_etl.envelope import SealedEnvelope
from omni_etl.queue import PAYLOAD_ATTRIBUTE
from omni_etl.supervisor.channel import Channel, Forget, Message, Ping, Ready, Result, Work

MESSAGES: list[Message] = [
    Work(7, "header", b"\0payload", 1.5),
    Forget(b"s", [(b"n", 1)]),
    Ping(),
    Ready(("open",)),
    Result(7, "poison", "why", 3),
]
FRAMES = b"".join(struct.pack("<I", len(each)) + each for each in map(msgspec.msgpack.encode, MESSAGES))


def _frame(value: Any) -> bytes:
    try:
        body = msgspec.msgpack.encode(value)
    except (OverflowError, UnicodeEncodeError):
        return b""
    return struct.pack("<I", len(body)) + body


FIRST_FRAME = FRAMES[: 4 + len(msgspec.msgpack.encode(MESSAGES[0]))]
FORMS: tuple[Payload, ...] = ("attribute", "body")
ENVELOPE = sealed([line("open")])


class _NoWriter:
    def close(self) -> None:
        """Nothing to close."""


async def received(content: bytes) -> list[Message]:
    """Every message until the end, or until what is none."""
    reader = asyncio.StreamReader()
    reader.feed_data(content)
    reader.feed_eof()
    channel = Channel(reader, _NoWriter())  # type: ignore[arg-type]  # only read from
    return [message async for message in _until_none(channel.receive)]


async def _until_none(receive: Callable[[], Any]) -> Any:
    while (message := await receive()) is not None:
        yield message


@fuzz(content=altered(FRAMES) | odd_json().map(_frame))
def test_altered_frames(content: bytes) -> None:
    """Whatever is no message is the end of the other side; what was whole before it still counts."""
    with within_memory(MIB):
        found = asyncio.run(received(content))
    assert all(isinstance(each, Message) for each in found)
    if content.startswith(FIRST_FRAME):
        assert found[0] == MESSAGES[0]


def test_frames_come_as_they_were_sent() -> None:
    """The figures above are of frames that work."""
    assert asyncio.run(received(FRAMES)) == MESSAGES


@fuzz(
    body=odd_text() | altered(f"{ENVELOPE.header}\n{base64.b64encode(ENVELOPE.payload).decode()}".encode()).map(lambda raw: raw.decode("latin-1")),
    kind=st.sampled_from(["Binary", "Binary.zstd", "String", "Number", ""]),
    name=st.sampled_from([PAYLOAD_ATTRIBUTE, "trace", "é"]),
    value=st.binary(max_size=20),
)  # fmt: skip
def test_messages_of_sqs(body: str, kind: str, name: str, value: bytes) -> None:
    """Anybody who may send to the queue may send these: text in the place of bytes, names and bodies of all kinds."""
    attribute = {
        "DataType": kind,
        **({"BinaryValue": value} if kind.startswith("Binary") else {"StringValue": value.hex()}),
    }
    message = {"Body": body, "MD5OfBody": body_checksum(body), "MessageAttributes": {name: attribute}}
    message["MD5OfMessageAttributes"] = attributes_checksum(message["MessageAttributes"])  # type: ignore[arg-type]  # as above
    assert difference_received(message) is None
    found = to_envelope(message)
    assert isinstance(found.header, str)
    assert isinstance(found.payload, bytes)


@fuzz(
    payload=st.binary(max_size=60),
    header=st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=40),
)
def test_what_is_sent_comes_back(payload: bytes, header: str) -> None:
    """In both forms."""
    envelope = SealedEnvelope(header, payload)
    for form in FORMS:
        entry = to_entry(0, envelope, form)
        assert (
            to_envelope({"Body": entry["MessageBody"], "MessageAttributes": entry.get("MessageAttributes", {})})
            == envelope
        )
