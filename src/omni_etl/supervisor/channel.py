"""The pipe between parent and child: framed, typed, bounded. EOF on it means that the other side is gone."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Final, Literal

import msgspec

FRAME_BYTES_MAX: Final = 16 * 1024 * 1024
Outcome = Literal["done", "unavailable", "poison", "conflict", "lapsed", "unreadable"]


class Work(msgspec.Struct, frozen=True, tag="work", array_like=True, gc=False):
    """Parent to child: apply this envelope. `deadline` is monotonic, which all processes of a machine share."""

    work_id: int
    header: str
    payload: bytes
    deadline: float


class Forget(msgspec.Struct, frozen=True, tag="forget", array_like=True, gc=False):
    """Parent to child: these recipients were erased, each at its time (milliseconds), and more may have been told of before."""

    secret: bytes
    erasures: list[tuple[bytes, int]]


class Stop(msgspec.Struct, frozen=True, tag="stop", array_like=True, gc=False):
    """Parent to child: finish what you hold, then end."""


class Ping(msgspec.Struct, frozen=True, tag="ping", array_like=True, gc=False):
    """Parent to child: say that your loop turns."""


class Ready(msgspec.Struct, frozen=True, tag="ready", array_like=True, gc=False):
    """Child to parent: the code is loaded; these event types are wanted. The engine may still be away."""

    types: tuple[str, ...]


class Unfit(msgspec.Struct, frozen=True, tag="unfit", array_like=True, gc=False):
    """Child to parent: a setting that waiting cannot heal; everything stops."""

    setting: str
    found: str
    fix: str


class Result(msgspec.Struct, frozen=True, tag="result", array_like=True, gc=False):
    """Child to parent: what became of one work."""

    work_id: int
    outcome: Outcome
    reason: str = ""
    erased: int = 0  # events that were left out


class Pong(msgspec.Struct, frozen=True, tag="pong", array_like=True, gc=False):
    """Child to parent: the loop turns."""


Message = Work | Forget | Stop | Ping | Ready | Unfit | Result | Pong

_LENGTH: Final = struct.Struct("<I")
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Message)


class Channel:
    """One end. `receive` answers None at EOF; `send` after EOF is silent, because the reader will notice."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, sock: socket.socket) -> Channel:
        """Take over one end of a socket pair."""
        sock.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=sock, limit=FRAME_BYTES_MAX)
        return cls(reader, writer)

    async def send(self, message: Message) -> None:
        """Write one message; waits while the other side is slow."""
        self.post(message)
        with suppress(ConnectionError, RuntimeError):
            await self._writer.drain()

    def post(self, message: Message) -> None:
        """Write one message and wait for nobody: for the small and rare ones that a stuck other side must not hold up."""
        frame = _encoder.encode(message)
        assert len(frame) <= FRAME_BYTES_MAX, len(frame)
        with suppress(ConnectionError, RuntimeError):
            self._writer.write(_LENGTH.pack(len(frame)))
            self._writer.write(frame)

    async def receive(self) -> Message | None:
        """The next message, or None when the other side is gone, or as good as gone: it speaks another language."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            if length > FRAME_BYTES_MAX:
                return None
            message: Message = _decoder.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return message

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
