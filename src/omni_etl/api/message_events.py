"""Message events: the older way to search events, by numbered pages, as clients of 2016 still ask (reference: SparkPost, §3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response

from omni_etl.api import event_page
from omni_etl.api.auth import needs
from omni_etl.api.event_form import moment, shown_of_old
from omni_etl.api.event_query import OLD, asked, described
from omni_etl.api.events import ANSWERS as ANSWERS_OF_EVENTS
from omni_etl.api.events import FOUND, VIEW
from omni_etl.api.parameters import Parameters
from omni_etl.api.problems import invalid
from omni_etl.event_search import EventQuery

DEPTH_MAX: Final = 100_000  # events up to the end of a page: the store sorts them all for it
PAGE: Final = {
    "name": "page",
    "in": "query",
    "required": False,
    "schema": {"type": "integer", "minimum": 1, "maximum": DEPTH_MAX, "default": 1},
}
_LINK: Final = {
    "type": "object",
    "required": ["href", "rel"],
    "properties": {"href": {"type": "string"}, "rel": {"type": "string"}},
}
_FOUND: Final = {**FOUND, "properties": {**FOUND["properties"], "links": {"type": "array", "items": _LINK}}}
ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    **ANSWERS_OF_EVENTS,
    200: {"description": "Events, newest first", "content": {"application/json": {"schema": _FOUND}}},
}

router = APIRouter(tags=["Events"], dependencies=[Depends(needs(VIEW))])


@dataclass(frozen=True, slots=True)
class _Pages:
    number: int
    size: int
    total_count: int

    @property
    def last(self) -> int:
        """The last page that can be asked for."""
        return max(1, min(-(-self.total_count // self.size), DEPTH_MAX // self.size))

    def links(self) -> dict[str, int]:
        """Numbers of other pages, by what they are to this one."""
        others = {"first": 1, "previous": self.number - 1, "next": self.number + 1, "last": self.last}
        return {rel: number for rel, number in others.items() if 1 <= number <= self.last and number != self.number}


@router.get(
    "/message-events",
    response_class=Response,
    responses=ANSWERS,
    openapi_extra={"parameters": [PAGE, *described(OLD)]},
)
async def search(request: Request) -> Response:
    """What became of messages, newest first, by numbered pages; `/events/message` goes deeper, and is faster there."""
    found = asked(request, OLD)
    number = Parameters.of(request).number("page", default=1, least=1, most=DEPTH_MAX)
    skip = (number - 1) * found.per_page
    if skip + found.per_page > DEPTH_MAX:
        raise invalid("page", f"pages reach {DEPTH_MAX} events deep; /events/message goes on by a cursor")
    event_search = request.app.state.parts.event_search
    places = await event_search.find(found.query, count_max=found.per_page, skip=skip)
    is_all = skip == 0 and len(places) < found.per_page
    total_count = len(places) if is_all else await event_search.count(found.query)
    pages = _Pages(number, found.per_page, total_count)
    links = [{"href": _href(request, found.query, page), "rel": rel} for rel, page in pages.links().items()]
    beside = {"total_count": total_count, "links": links}
    return await event_page.answer(event_search, places, form=shown_of_old, beside=beside)


def _href(request: Request, query: EventQuery, page: int) -> str:
    """The window is named, so that it does not move on from page to page."""
    window = {"from": moment(query.from_ms), "to": moment(query.to_ms)}
    said = [(name, value) for name, value in request.query_params.multi_items() if name not in {*window, "page"}]
    return f"{request.url.path}?{urlencode([*said, *window.items(), ('page', str(page))])}"
