"""Events: search what happened, by everything that an event says of itself (reference: SparkPost, §3).

A walk by cursor meets every event once that stood at its start, however many come in meanwhile.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response

from omni_etl.api import event_cursor, event_page
from omni_etl.api.auth import needs
from omni_etl.api.event_form import shown
from omni_etl.api.event_query import INGEST, MESSAGE, Names, asked, described, query_without
from omni_etl.api.problems import described as refusals

VIEW: Final = "events/view"
CURSOR: Final = {
    "name": "cursor",
    "in": "query",
    "required": False,
    "schema": {
        "type": "string",
        "default": event_cursor.INITIAL,
        "description": "As links.next of the page before has it.",
    },
}
FOUND: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["results", "total_count", "links"],
    "properties": {
        "results": {"type": "array", "items": {"type": "object", "required": ["type", "timestamp"]}},
        "total_count": {"type": "integer", "minimum": 0},
        "links": {"type": "object", "properties": {"next": {"type": "string"}}},
    },
}
ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Events, newest first", "content": {"application/json": {"schema": FOUND}}},
    **refusals({414: "The URI is too long"}),
}

router = APIRouter(tags=["Events"], dependencies=[Depends(needs(VIEW))])


@router.get(
    "/events/message",
    response_class=Response,
    responses=ANSWERS,
    openapi_extra={"parameters": [CURSOR, *described(MESSAGE)]},
)
async def search(request: Request) -> Response:
    """What became of messages, newest first. Parameters go together; of a list, one value is enough."""
    return await _page(request, MESSAGE)


@router.get(
    "/events/ingest",
    response_class=Response,
    responses=ANSWERS,
    openapi_extra={"parameters": [CURSOR, *described(INGEST)]},
)
async def search_ingest(request: Request) -> Response:
    """What became of batches of events that were handed in, newest first."""
    return await _page(request, INGEST)


async def _page(request: Request, names: Names) -> Response:
    found = asked(request, names)
    event_search = request.app.state.parts.event_search
    cursor = event_cursor.read(request.query_params.get("cursor"), found.query, given=found.window)
    query = event_cursor.within(found.query, cursor)
    after = None if cursor is None else cursor.after
    places = await event_search.find(query, count_max=found.per_page + 1, after=after)
    page, has_more = places[: found.per_page], len(places) > found.per_page
    if cursor is not None:
        total_count = cursor.total_count
    else:
        total_count = await event_search.count(query) if has_more else len(page)
    links = {}
    if has_more:
        said = query_without(request, "cursor")
        following = urlencode({"cursor": event_cursor.written(query, page[-1], total_count=total_count)})
        links["next"] = f"{request.url.path}?{'&'.join(filter(None, (said, following)))}"
    beside = {"total_count": total_count, "links": links}
    return await event_page.answer(event_search, page, form=shown, beside=beside)
