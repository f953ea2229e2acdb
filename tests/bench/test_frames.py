"""AMQP as bytes: what is written is what the protocol says, and what is read survives any cutting of the stream."""

from __future__ import annotations

from struct import pack

import pytest
from bench.frames import Confirms, Deliveries, ProtocolError, Publishing, acknowledgement


def test_a_publish_is_three_frames_with_a_persistent_message() -> None:
    """Method, header and body, byte for byte as AMQP 0-9-1 has them; delivery mode 2 means persistent."""
    found = Publishing("events", ["a.b"]).frames([("a.b", b"{}")])

    method = pack(">HHH", 60, 40, 0) + b"\x06events" + b"\x03a.b" + b"\x00"
    header = pack(">HHQ", 60, 0, 2) + pack(">H", 0x1000) + b"\x02"
    assert found == _frame(1, method) + _frame(2, header) + _frame(3, b"{}")


def test_deliveries_are_the_same_however_the_stream_is_cut() -> None:
    """A socket answers any number of bytes at a time; every message comes once, in order, with its routing key."""
    stream = b"".join(_delivery(tag, f"group.type{tag}", b"x" * tag) for tag in range(1, 6))
    expected = [(f"group.type{tag}".encode(), b"x" * tag) for tag in range(1, 6)]

    for size in range(1, len(stream) + 1):
        deliveries = Deliveries("events", "bench")
        found = [each for at in range(0, len(stream), size) for each in deliveries.feed(stream[at : at + size])]
        assert found == expected


def test_a_channel_that_the_broker_closes_is_no_delivery() -> None:
    """Anything but a delivery ends the run instead of being taken for one."""
    with pytest.raises(ProtocolError):
        Deliveries("events", "bench").feed(_frame(1, pack(">HH", 20, 40) + b"why"))


def test_confirms_count_each_message_once_in_any_order() -> None:
    """The broker confirms one message or all up to one, and not in order; each counts once."""
    confirms = Confirms()

    for tag, is_multiple, count in (
        (3, False, 1),
        (1, False, 2),
        (2, True, 3),
        (6, True, 6),
        (8, False, 7),
        (8, True, 8),
    ):
        confirms.feed(_frame(1, pack(">HHQB", 60, 80, tag, is_multiple)))
        assert confirms.count == count


def test_a_refusal_is_no_confirmation() -> None:
    """`basic.nack` means that the broker did not keep the message."""
    with pytest.raises(ProtocolError):
        Confirms().feed(_frame(1, pack(">HHQB", 60, 120, 1, 0)))


def test_an_acknowledgement_covers_everything_before_it() -> None:
    """One frame for a batch: the bit `multiple` is set."""
    assert acknowledgement(5_000) == _frame(1, pack(">HHQB", 60, 80, 5_000, 1))


def _frame(kind: int, payload: bytes) -> bytes:
    return pack(">BHI", kind, 1, len(payload)) + payload + b"\xce"


def _delivery(tag: int, key: str, body: bytes) -> bytes:
    method = pack(">HH", 60, 60) + b"\x05bench" + pack(">QB", tag, 0) + b"\x06events" + bytes([len(key)]) + key.encode()
    header = pack(">HHQ", 60, 0, len(body)) + pack(">H", 0x1000) + b"\x02"
    return _frame(1, method) + _frame(2, header) + _frame(3, body)
