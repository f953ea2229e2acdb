"""Examiner: opens the body of a request and has each event checked. One body at a time, however many wait."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from dataclasses import dataclass
from typing import Final

from omni_etl.clock import Clock
from omni_etl.hose.body import CheckedBody, Form, check_lines, split
from omni_etl.hose.encoding import decode
from omni_etl.hose.room import Held
from omni_etl.hose.shapes import Shapes

DECODE_AT_ONCE_BYTES: Final = 128 * 1024  # a longer body is uncompressed beside the loop
DIGEST_AT_ONCE_BYTES: Final = 1024 * 1024  # and a longer one digested there


@dataclass(frozen=True, slots=True)
class Request:
    """A body as sent, and what its headers say of it."""

    encoding: str = ""
    form: Form = "any"
    key: str | None = None
    old: bool = False  # an import: events of any age


@dataclass(frozen=True, slots=True)
class Examined:
    """What of a request may enter, and how it is recognised when it comes again."""

    checked: CheckedBody
    size_bytes: int  # uncompressed
    name: bytes | None  # of its key, or of a body whose events all have ids; None: a repetition is another request
    digest: bytes  # of its body


class Examiner:
    """One at a time, because a second one would not be faster on one core, and a body in work takes twice its size."""

    def __init__(self, *, raw_bytes_max: int, event_age_seconds_max: int, clock: Clock) -> None:
        self._raw_bytes_max = raw_bytes_max
        self._event_age_seconds_max = event_age_seconds_max  # 0: of any age
        self._clock = clock
        self._turn = asyncio.Lock()
        self._shapes = Shapes()
        self._shapes_of_any_age = Shapes()

    async def examine(self, body: bytes, request: Request, lines_held: Held) -> Examined:
        """Judge every event. Whoever calls should keep no reference to the body: its lines are copies.

        Raises:
            IntakeError: the request is refused as a whole.

        """
        async with self._turn:
            body = await self._uncompressed(body, request.encoding)
            size_bytes = len(body)
            await lines_held.wait_for(2 * size_bytes)  # while it is split, it is there twice
            name = None if request.key is None else _name(b"key " + request.key.encode())
            digest = await _digest(body) if name is None else _fingerprint(body)
            lines = split(body, request.form)
            del body
            lines_held.change(size_bytes)
            checked = await check_lines(
                lines,
                size_bytes=size_bytes,
                digest=(name or b"") + digest,
                clock=self._clock,
                shapes=self._shapes_for(request),
            )
        if name is None and checked.all_have_ids:
            name = _name((b"old body " if request.old else b"body ") + digest)  # without, it was another question
        return Examined(checked, size_bytes, name, digest)

    def _shapes_for(self, request: Request) -> Shapes:
        if request.old or not self._event_age_seconds_max:
            return self._shapes_of_any_age
        now = int(self._clock.now())
        self._shapes.take_since(now - self._event_age_seconds_max, now=now)
        return self._shapes

    async def _uncompressed(self, body: bytes, encoding: str) -> bytes:
        if encoding and len(body) > DECODE_AT_ONCE_BYTES:
            return await asyncio.to_thread(decode, body, encoding, raw_bytes_max=self._raw_bytes_max)
        return decode(body, encoding, raw_bytes_max=self._raw_bytes_max)


def _name(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()[:16]


async def _digest(body: bytes) -> bytes:
    """By which alone a request without a key is recognised."""
    if len(body) <= DIGEST_AT_ONCE_BYTES:
        return hashlib.sha256(body).digest()
    return await asyncio.to_thread(lambda: hashlib.sha256(body).digest())


def _fingerprint(body: bytes) -> bytes:
    """Enough to notice a key that comes with another body by mistake, at a third of a digest's price."""
    return zlib.crc32(body).to_bytes(4, "big") + len(body).to_bytes(4, "big")
