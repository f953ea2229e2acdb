"""The suppression list: search, check, put, remove, count, and hear of changes (reference: SparkPost, §5).

Answered from the database as it is now. `GET /suppression-list/{recipient}` is usually answered in front of all this, see
`suppression_check.py`; the route here is the long way, and both say the same.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Depends, Request, Response

from omni_etl.api import suppression_query
from omni_etl.api.auth import needs
from omni_etl.api.caller import SUBACCOUNT_HEADER, subaccount
from omni_etl.api.parameters import Parameters
from omni_etl.api.problems import described, plain
from omni_etl.api.suppression_changes import NUMBER_MAX, number_of
from omni_etl.api.suppression_check import UNKNOWN, VIEW
from omni_etl.api.suppression_members import found, list_id_of, many_wishes, parsed, types_of, wishes
from omni_etl.api.suppression_query import PAGED_MAX, PER_PAGE, PER_PAGE_MAX, Search
from omni_etl.event import SUBACCOUNT_ID_MAX
from omni_etl.suppression_list import COMPLIANCE, SOURCES, TYPES, SuppressionList, address_key

MODIFY: Final = "suppression_list/modify"
PRIMARY_ACCOUNT: Final = 0

Query = dict[str, tuple[dict[str, Any], str]]
"""Parameters by name: schema and meaning."""

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_TYPES: Final = "transactional, non_transactional, or both with a comma."
_MOMENT: Final = "As 2026-11-25T09:00, with or without seconds and a zone; UTC without."
_ENTRY: Final = {
    "type": "object",
    "required": ["recipient", "type", "source", "description", "created", "updated"],
    "properties": dict.fromkeys(("recipient", "type", "source", "description", "created", "updated"), _TEXT),
}
_ENTRIES: Final = {
    "type": "object",
    "required": ["results", "links", "total_count"],
    "properties": {
        "results": {"type": "array", "items": _ENTRY},
        "links": {"type": "array", "items": {"type": "object", "required": ["href", "rel"]}},
        "total_count": {"type": "integer"},
    },
}
_WISH: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "recipient": {**_TEXT, "description": "Also under its old name, email."},
        "type": {**_TEXT, "enum": list(TYPES), "description": "Or one or both of the old booleans."},
        "description": _TEXT,
        "list_id": {**_TEXT, "description": "Only mail of this mailing list."},
        "transactional": {"type": "boolean"},
        "non_transactional": {"type": "boolean"},
    },
}


def _ok(schema: dict[str, Any], media_type: str = "application/json") -> dict[int | str, dict[str, Any]]:
    return {200: {"description": "Done", "content": {media_type: {"schema": schema}}}}


def _takes(query: Query | None = None, *, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """For `openapi_extra`."""
    header = {
        "name": SUBACCOUNT_HEADER,
        "in": "header",
        "required": False,
        "schema": {"type": "integer", "minimum": 0, "maximum": SUBACCOUNT_ID_MAX},
        "description": "Of this subaccount alone; 0: of the primary account. Without: reads are of all, writes of the primary.",
    }
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": description}
        for name, (schema, description) in (query or {}).items()
    ]
    asked: dict[str, Any] = {"parameters": [header, *parameters]}
    if body is not None:
        asked["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return asked


_PAGES: Final[Query] = {
    "types": (_TEXT, _TYPES),
    "cursor": (_TEXT, "`initial`, then as the link `next` says. Overrides page."),
    "per_page": ({"type": "integer", "minimum": 1, "maximum": PER_PAGE_MAX, "default": PER_PAGE}, "At most so many."),
    "page": ({"type": "integer", "minimum": 1, "maximum": PAGED_MAX}, f"Of the first {PAGED_MAX} results."),
}
_SEARCH: Final[Query] = {
    "from": (_TEXT, f"Updated then or later. {_MOMENT}"),
    "to": (_TEXT, f"Updated then or before. {_MOMENT}"),
    "domain": (_TEXT, "Of the recipient."),
    "sources": (_TEXT, f"With commas: {', '.join(SOURCES)}."),
    "description": (_TEXT, "A part of it, in any case; or all of it, see description_strict."),
    "description_strict": ({"type": "boolean", "default": False}, "The description is exactly so."),
    "list_id": (_TEXT, "Of this mailing list; empty: of none."),
    "sort": ({**_TEXT, "enum": ["asc", "desc"], "default": "desc"}, "By the time of the update."),
    "limit": ({"type": "integer", "minimum": 1, "maximum": PER_PAGE_MAX}, "The old name of per_page."),
    **_PAGES,
}
_SINCE: Final[Query] = {
    "since": ({"type": "integer", "minimum": 0, "maximum": NUMBER_MAX}, "The last id that was seen.")
}
_UNKNOWN: Final = described({404: UNKNOWN})

router = APIRouter(tags=["Suppression list"])
_reading: Final = [Depends(needs(VIEW))]
_writing: Final = [Depends(needs(MODIFY))]


@router.get("/suppression-list", dependencies=_reading, responses=_ok(_ENTRIES), openapi_extra=_takes(_SEARCH))
async def search(request: Request) -> Response:
    """The entries that hold. With a cursor: all, some at a time; what holds all the while is never missed."""
    return await _found(request, suppression_query.read(request, subaccount(request)))


@router.put(
    "/suppression-list",
    dependencies=_writing,
    responses=_ok({"type": "object"}),
    openapi_extra=_takes(
        body={
            "type": "object",
            "required": ["recipients"],
            "properties": {"recipients": {"type": "array", "items": _WISH}},
        }
    ),
)
async def put_many(request: Request) -> dict[str, Any]:
    """Suppress up to 10,000 recipients, all or none. Of an address that is there twice only the first counts."""
    subaccount_id = subaccount(request) or PRIMARY_ACCOUNT
    wished = await asyncio.to_thread(many_wishes, await request.body(), subaccount_id)
    await _list(request).put(wished)
    return {"results": {"message": "Suppression List successfully updated"}}


@router.get(
    "/suppression-list/summary", dependencies=_reading, responses=_ok({"type": "object"}), openapi_extra=_takes()
)
async def summarize(request: Request) -> dict[str, Any]:
    """How many entries hold, by source."""
    counts = await _list(request).summary(subaccount(request))
    by_source = {each.lower().replace(" ", "_"): counts.get(each, 0) for each in SOURCES}
    return {"results": {**by_source, "total": sum(counts.values())}}


@router.get(
    "/suppression-list/changes",
    dependencies=_reading,
    response_class=Response,
    responses=_ok(_TEXT, "text/event-stream")
    | described({410: "Deletions since then are no longer known: begin anew"}),
    openapi_extra=_takes(_SINCE),
)
async def changes(request: Request) -> Response:
    """Every change from now on, as server-sent events, after all that changed `since`; without it, after a whole copy.

    The data of an event is what holds now for one recipient, type, subaccount and list, `suppressed` or not. Of several
    changes of one, a reader that is behind hears the last. The header Last-Event-ID says the same as `since`, and wins.
    """
    last_seen, since = request.headers.get("last-event-id", ""), Parameters.of(request).text("since") or ""
    number = number_of(last_seen, "Last-Event-ID") if last_seen else number_of(since, "since")
    answer: Response = await request.app.state.readers.stream(number, subaccount(request))
    return answer


@router.get(
    "/suppression-list/{recipient:path}",
    dependencies=_reading,
    responses=_ok(_ENTRIES) | _UNKNOWN,
    openapi_extra=_takes(_PAGES),
)
async def read(request: Request, recipient: str) -> Response:
    """The entries that hold for this address, of whatever type and list; 404 where it may be mailed."""
    meant = subaccount(request)
    given = Parameters.of(request)
    if not any(given.listed(name) for name in _PAGES):
        entries = await _list(request).check(recipient, meant)
        if not entries:
            raise _unknown()
        return _answered(found(entries, total_count=len(entries)))
    return await _found(request, suppression_query.read(request, meant, recipient=address_key(recipient)), must_be=True)


@router.put(
    "/suppression-list/{recipient:path}",
    dependencies=_writing,
    responses=_ok({"type": "object"}),
    openapi_extra=_takes(body=_WISH),
)
async def put(request: Request, recipient: str) -> dict[str, Any]:
    """Suppress one recipient, as of now."""
    subaccount_id = subaccount(request) or PRIMARY_ACCOUNT
    wished = wishes(await request.body(), recipient, subaccount_id)
    of = {(each.type, each.list_id) for each in wished}
    stands = await _list(request).check(recipient, subaccount_id)
    if any((each.type, each.list_id) in of and each.source == COMPLIANCE for each in stands):
        raise plain(HTTPStatus.FORBIDDEN, "Recipient could not be updated - Compliance")
    await _list(request).put(wished)
    return {"results": {"message": "Suppression list successfully updated"}}


@router.delete(
    "/suppression-list/{recipient:path}",
    dependencies=_writing,
    status_code=HTTPStatus.NO_CONTENT,
    responses=_UNKNOWN,
    openapi_extra=_takes({"list_id": (_TEXT, "Only of this mailing list; empty: of none. Without: of all.")}),
)
async def remove(request: Request, recipient: str) -> Response:
    """Let one recipient be mailed again; the body may name one type."""
    body, list_id = await request.body(), request.query_params.get("list_id")
    types = types_of(parsed(body)) if body.strip() else []
    removal = await _list(request).remove(
        recipient,
        subaccount_id=subaccount(request) or PRIMARY_ACCOUNT,
        types=types or TYPES,
        list_id=list_id_of(list_id) if list_id else list_id,
    )
    if removal == "compliance":
        raise plain(HTTPStatus.FORBIDDEN, "Recipient could not be removed - Compliance")
    if removal == "unknown":
        raise _unknown()
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def _found(request: Request, wanted: Search, *, must_be: bool = False) -> Response:
    """One page; `must_be`: 404 where there is nothing at all."""
    kept = _list(request)
    total_count = await kept.count(wanted.question)
    if must_be and not total_count:
        raise _unknown()
    if wanted.is_walk:
        walked = await kept.walk(wanted.question, wanted.place, count_max=wanted.per_page)
        entries, links = walked.entries, wanted.links_of_walk(walked.place)
    else:
        entries = await kept.search(wanted.question, count_max=wanted.count_max, offset=wanted.offset)
        links = [] if wanted.page is None else wanted.links_of_page(total_count)
    return _answered(await asyncio.to_thread(found, entries, total_count=total_count, links=links))


def _answered(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _list(request: Request) -> SuppressionList:
    kept: SuppressionList = request.app.state.parts.suppression_list
    return kept


def _unknown() -> Exception:
    return plain(HTTPStatus.NOT_FOUND, UNKNOWN)
