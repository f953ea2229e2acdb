"""channel: framed messages between parent and child; the end of the other side is an answer, never an error."""

import asyncio
import socket

import pytest
from tests.supervisor.leases import turn

from omni_etl.supervisor.channel import (
    FRAME_BYTES_MAX,
    Channel,
    Message,
    Ping,
    Pong,
    Ready,
    Result,
    Stop,
    Unfit,
    Work,
)


async def pair() -> tuple[Channel, Channel]:
    """Both ends."""
    ours, theirs = socket.socketpair()
    return await Channel.over(ours), await Channel.over(theirs)


@pytest.mark.parametrize(
    "message",
    [
        Work(7, "header", b"\0payload\n", 12.5),
        Stop(),
        Ping(),
        Pong(),
        Ready(("bounce", "delivery")),
        Unfit("OMNI_X", "nothing", "Set it."),
        Result(7, "poison", "because"),
    ],
    ids=lambda message: type(message).__name__,
)
async def test_each_message_arrives_as_it_was_sent(message: Message) -> None:
    """Both kinds of sending."""
    ours, theirs = await pair()
    await ours.send(message)
    ours.post(message)
    assert [await theirs.receive(), await theirs.receive()] == [message, message]
    ours.close()
    theirs.close()


async def test_large_and_small_messages_do_not_mix() -> None:
    """Many senders at the same time, each frame whole: envelopes of 1 MiB between pings."""
    ours, theirs = await pair()
    sent: list[Message] = [Ping() if number % 2 else Work(number, "h", bytes(1024 * 1024), 0.0) for number in range(8)]
    sending = asyncio.gather(*(ours.send(each) for each in sent))
    assert [await theirs.receive() for _ in sent] == sent
    await sending
    ours.close()
    theirs.close()


async def test_a_slow_reader_slows_the_sender_and_not_a_post() -> None:
    """`send` waits while the other side does not read; `post` waits for nobody."""
    ours, unread = socket.socketpair()
    channel = await Channel.over(ours)
    sending = asyncio.create_task(channel.send(Work(1, "h", bytes(1024 * 1024), 0.0)))
    await turn()
    channel.post(Ping())
    assert not sending.done()
    theirs = await Channel.over(unread)
    assert isinstance(await theirs.receive(), Work)
    await sending
    assert await theirs.receive() == Ping()
    channel.close()
    theirs.close()


async def test_the_end_of_the_other_side_is_none() -> None:
    """After what it had said before."""
    ours, theirs = await pair()
    await theirs.send(Pong())
    theirs.close()
    assert await ours.receive() == Pong()
    assert await ours.receive() is None
    ours.close()


async def test_half_a_message_is_the_end_too() -> None:
    """A side that died while writing said nothing."""
    ours, theirs = socket.socketpair()
    channel = await Channel.over(ours)
    theirs.sendall((100).to_bytes(4, "little") + b"half")
    theirs.close()
    assert await channel.receive() is None
    channel.close()


async def test_sending_to_nobody_is_silent() -> None:
    """The reader notices; the sender need not."""
    ours, theirs = await pair()
    theirs.close()
    assert await ours.receive() is None
    for _ in range(3):
        await ours.send(Ping())
        ours.post(Ping())
    ours.close()


async def test_no_frame_is_larger_than_the_limit() -> None:
    """Neither sent, which is a fault of ours, nor believed."""
    ours, theirs = await pair()
    with pytest.raises(AssertionError):
        await ours.send(Work(1, "h", bytes(FRAME_BYTES_MAX), 0.0))
    theirs._writer.write((FRAME_BYTES_MAX + 1).to_bytes(4, "little"))
    assert await ours.receive() is None
    ours.close()
    theirs.close()


@pytest.mark.parametrize("frame", [b"", b"rubbish", b"\x91" * 5_000, b"\x93\xa6result\x07\xa1\xff", b"\x91\xa4none"])
async def test_another_language_is_the_end_too(frame: bytes) -> None:
    """A child that writes rubbish is replaced; it does not end the parent, and so every other service."""
    ours, theirs = await pair()
    theirs._writer.write(len(frame).to_bytes(4, "little") + frame)
    assert await ours.receive() is None
    ours.close()
    theirs.close()
