"""Event page: the answer of a search, written while its events are read, a few hundred at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import orjson
from fastapi import Response
from fastapi.responses import StreamingResponse

from omni_etl.api.event_form import Form, rendered
from omni_etl.event_search import LINES_MAX, EventSearch, Place

FIRST_COUNT: Final = 100  # until it is known how long these events are
READ_BYTES: Final = 8 * 1024 * 1024  # to read at once
SENT_BYTES: Final = 256 * 1024  # to send at once
JSON: Final = "application/json"


async def answer(search: EventSearch, places: Sequence[Place], *, form: Form, beside: Mapping[str, Any]) -> Response:
    """`{"results": [...], ...beside}`. What fails before the first events are there can still be another answer."""
    end = b"]," + orjson.dumps(dict(beside))[1:]
    first = await search.lines(places[:FIRST_COUNT]) if places else ()
    if len(places) <= FIRST_COUNT:
        return Response(b'{"results":[' + _joined(first, form) + end, media_type=JSON)
    return StreamingResponse(_body(first, _rest(search, places, first), form=form, end=end), media_type=JSON)


async def _rest(search: EventSearch, places: Sequence[Place], first: Sequence[str]) -> AsyncIterator[Sequence[str]]:
    start, lines = FIRST_COUNT, first
    while start < len(places):
        mean_bytes = sum(map(len, lines)) // max(1, len(lines))
        count = min(max(READ_BYTES // max(1, mean_bytes), 1), LINES_MAX)
        lines = await search.lines(places[start : start + count])
        start += count
        yield lines


async def _body(
    first: Sequence[str], rest: AsyncIterator[Sequence[str]], *, form: Form, end: bytes
) -> AsyncIterator[bytes]:
    separator = b'{"results":['
    for piece in _cut(first):
        yield separator + _joined(piece, form)
        separator = b","
    async for lines in rest:
        for piece in _cut(lines):
            yield separator + _joined(piece, form)
            separator = b","
    yield (separator if separator != b"," else b"") + end


def _joined(lines: Sequence[str], form: Form) -> bytes:
    return b",".join([rendered(line, form) for line in lines])


def _cut(lines: Sequence[str]) -> Sequence[Sequence[str]]:
    """Pieces of about what is sent at once: other requests come in between."""
    pieces: list[list[str]] = []
    size = SENT_BYTES
    for line in lines:
        if size >= SENT_BYTES:
            pieces.append([])
            size = 0
        pieces[-1].append(line)
        size += len(line)
    return pieces
