"""`GET /suppression-list/changes`: every change as a server-sent event, so that a mail server can keep a copy of its own.

The id of an event is the number of its change, and numbers grow in the order of commits: whoever comes back with the last id it
saw has missed nothing. A reader holds one page of changes in memory, whatever its pace.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import HTTPException
from fastapi.responses import StreamingResponse
from starlette.types import Message, Send

from omni_etl.api.problems import plain
from omni_etl.api.suppression_members import moment
from omni_etl.bell import Bell
from omni_etl.clock import Clock
from omni_etl.errors import UnavailableError
from omni_etl.suppression_list import Change, Changes, SuppressionList

LOOK_SECONDS: Final = 0.25
HEARTBEAT_SECONDS: Final = 15.0  # below what proxies take for dead
RETRY_MS: Final = 1_000
SEND_SECONDS_MAX: Final = 60.0  # a reader that takes nothing for so long is gone
CHANGES_AT_ONCE_MAX: Final = 500
READERS_MAX: Final = 256  # of one process
NUMBER_MAX: Final = 2**63 - 1
_NUMBER_DIGITS_MAX: Final = 19


class Readers:
    """Everybody who reads changes. One task looks for new ones while there is anybody, and wakes them."""

    def __init__(self, suppression_list: SuppressionList, *, clock: Clock, stop: asyncio.Event) -> None:
        self._list = suppression_list
        self._clock = clock
        self._stop = stop
        self._bell = Bell()
        self._looking: asyncio.Task[None] | None = None
        self.count = 0

    async def stream(self, since: int, subaccount_id: int | None) -> StreamingResponse:
        """The answer, which ends with the reader or with `stop`.

        Raises:
            Problem: 410, what was deleted since then is no longer known.
            HTTPException: 503, there are too many.

        """
        if self.count >= READERS_MAX:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "Too many readers of changes.", {"Retry-After": "2"})
        if not await self._list.can_resume(since):
            raise plain(HTTPStatus.GONE, f"Changes since {since} are not known; begin anew, without since")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return _EventStream(self._events(since, subaccount_id), media_type="text/event-stream", headers=headers)

    async def _events(self, since: int, subaccount_id: int | None) -> AsyncIterator[bytes]:
        with self._present():
            yield b"retry: %d\n\n" % RETRY_MS
            told_at = self._clock.monotonic()
            while not self._stop.is_set():
                rings = self._bell.rings
                found = await self._found(since, subaccount_id)
                if found is not None and found.up_to < since:
                    return  # an older database was put in place of ours
                if found is not None:
                    since = found.up_to
                if found is not None and found.changes:
                    yield b"".join(map(_event, found.changes))
                    told_at = self._clock.monotonic()
                elif self._clock.monotonic() - told_at >= HEARTBEAT_SECONDS:
                    yield b": alive\nid: %d\n\n" % since
                    told_at = self._clock.monotonic()
                if found is None or found.is_all:
                    await self._bell.wait(rings, clock=self._clock, seconds=HEARTBEAT_SECONDS)

    async def _found(self, since: int, subaccount_id: int | None) -> Changes | None:
        """None while the database is away: the reader need not know, because nothing changes then."""
        with suppress(UnavailableError):
            return await self._list.changes(since, count_max=CHANGES_AT_ONCE_MAX, subaccount_id=subaccount_id)
        return None

    @contextmanager
    def _present(self) -> Iterator[None]:
        self.count += 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            self.count -= 1
            if not self.count and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _look(self) -> None:
        seen = None
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            while not stopping.done():
                with suppress(UnavailableError):
                    last = await self._list.last_change()
                    if last != seen:
                        seen = last
                        self._bell.ring()
                await self._pause(stopping)
            self._bell.ring()
        finally:
            stopping.cancel()

    async def _pause(self, stopping: asyncio.Future[Any]) -> None:
        sleeping = asyncio.ensure_future(self._clock.sleep(LOOK_SECONDS))
        try:
            await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()


class _EventStream(StreamingResponse):
    """One that does not wait for ever for a reader that takes nothing; its connection is closed."""

    async def stream_response(self, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(SEND_SECONDS_MAX):
                await send(message)

        with suppress(TimeoutError):
            await super().stream_response(send_in_time)


def number_of(text: str, name: str) -> int:
    """A number of a change; 0, the beginning, where there is none.

    Raises:
        Problem: 400, it is no number.

    """
    if not text:
        return 0
    if text.isascii() and text.isdigit() and len(text) <= _NUMBER_DIGITS_MAX and int(text) <= NUMBER_MAX:
        return int(text)
    raise plain(HTTPStatus.BAD_REQUEST, f"{name} must be a number")


def _event(change: Change) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (change.number, orjson.dumps(_shown(change)))


def _shown(change: Change) -> dict[str, Any]:
    saying = change.saying
    members: dict[str, Any] = {
        "recipient": saying.recipient,
        "type": saying.type,
        "suppressed": saying.suppressed,
        "source": saying.source,
        "description": saying.description,
        "created": moment(change.created_at_ms),
        "updated": moment(saying.said_at_ms),
        "said_id": saying.said_id,
    }
    if saying.list_id:
        members["list_id"] = saying.list_id
    if saying.subaccount_id:
        members["subaccount_id"] = str(saying.subaccount_id)
    return members
