"""What a search of the suppression list asks for, which of it, and the links to the rest (reference: SparkPost, §5.2)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import msgspec
from fastapi import Request

from omni_etl.api.parameters import Parameters
from omni_etl.api.problems import Problem, plain
from omni_etl.api.suppression_members import list_id_of, type_of
from omni_etl.event import SUBACCOUNT_ID_MAX
from omni_etl.suppression_list import SOURCES, Place, Question, address_key

INITIAL: Final = "initial"
PER_PAGE_MAX: Final = 10_000
PER_PAGE: Final = 1_000
PAGED_MAX: Final = 10_000  # what pages reach; cursors have no end
TEXT_CHARACTERS_MAX: Final = 4_096
SECOND_MS: Final = 1_000
_PATH: Final = "/api/v1/suppression-list"
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}
_SOURCES: Final = {each.lower(): each for each in SOURCES}

Whole = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS_MAX)]


class _Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A `Place`. It is checked, not secret: whoever made one up would see nothing but their own entries, from elsewhere."""

    began_at: Whole
    updated_at_ms: Whole | None
    recipient: Text
    subaccount_id: Annotated[int, msgspec.Meta(ge=0, le=SUBACCOUNT_ID_MAX)]
    type: Text
    list_id: Text
    change: Whole | None


@dataclass(frozen=True, slots=True)
class Search:
    """Either by cursor (`is_walk`, from `place` on), by page, or neither: then the first ones, without links."""

    question: Question
    per_page: int
    is_walk: bool
    place: Place | None
    page: int | None
    others: list[tuple[str, str]]  # of the query, for the links

    @property
    def count_max(self) -> int:
        """What the page holds: the last one that can be reached may be cut."""
        return min(self.per_page, PAGED_MAX - self.offset)

    @property
    def offset(self) -> int:
        """How many entries are on the pages before."""
        return ((self.page or 1) - 1) * self.per_page

    def links_of_walk(self, following: Place | None) -> list[dict[str, str]]:
        """`first`, and `next` where there is more."""
        links = [self._link("first", cursor=INITIAL)]
        return links if following is None else [*links, self._link("next", cursor=_written(following))]

    def links_of_page(self, total_count: int) -> list[dict[str, str]]:
        """`first`, `next`, `previous`, `last`, as far as there are such pages."""
        assert self.page is not None
        last = max(1, -(-min(total_count, PAGED_MAX) // self.per_page))
        pages = {"first": 1, "next": self.page + 1, "previous": self.page - 1, "last": last}
        return [self._link(rel, page=page) for rel, page in pages.items() if 1 <= page <= last]

    def _link(self, rel: str, **where: object) -> dict[str, str]:
        return {"href": f"{_PATH}?{urlencode([*where.items(), *self.others])}", "rel": rel}


def read(request: Request, subaccount_id: int | None, *, recipient: str | None = None) -> Search:
    """The search that a request asks for.

    Raises:
        Problem: 400, a parameter is not what it must be; only with a message, as everything of this resource.

    """
    try:
        return _read(request, subaccount_id, recipient)
    except Problem as problem:
        raise plain(problem.status, *(error["message"] for error in problem.errors)) from None


def _read(request: Request, subaccount_id: int | None, recipient: str | None) -> Search:
    given = Parameters.of(request)
    newest_first = _one_of(given.text("sort") or "desc", "sort", ("asc", "desc")) == "desc"
    most = "per_page" if given.text("per_page") else "limit"
    per_page = given.number(most, default=PER_PAGE, least=1, most=PER_PAGE_MAX)
    cursor = given.text("cursor")
    page = None
    if cursor is None and given.text("page"):
        page = given.number("page", default=1, least=1, most=PAGED_MAX)
        if (page - 1) * per_page >= PAGED_MAX:
            raise _bad(f"page reaches the first {PAGED_MAX} results only; use cursor")
    return Search(
        question=_question(request, given, subaccount_id, recipient, newest_first=newest_first),
        per_page=per_page,
        is_walk=cursor is not None,
        place=_place(cursor),
        page=page,
        others=[each for each in request.query_params.multi_items() if each[0] not in ("cursor", "page")],
    )


def _question(
    request: Request, given: Parameters, subaccount_id: int | None, recipient: str | None, *, newest_first: bool
) -> Question:
    list_id = request.query_params.get("list_id")  # empty says something, too
    domain = given.text("domain")
    until_ms = _moment_ms(given, "to")
    return Question(
        subaccount_id=subaccount_id,
        recipient=recipient,
        types=tuple(type_of(each) for each in given.listed("types")),
        sources=tuple(_source(each) for each in given.listed("sources")),
        domain=None if domain is None else address_key(f"x@{_short(domain, 'domain').lstrip('@')}").removeprefix("x@"),
        description=_short(given.text("description"), "description"),
        description_strict=_FLAGS[
            _one_of((given.text("description_strict") or "false").lower(), "description_strict", _FLAGS)
        ],
        list_id=list_id_of(list_id) if list_id else list_id,
        from_ms=_moment_ms(given, "from"),
        until_ms=None if until_ms is None else until_ms + SECOND_MS,  # answers show whole seconds
        newest_first=newest_first,
    )


def _moment_ms(given: Parameters, name: str) -> int | None:
    try:
        moment = given.moment(name)
    except Problem:
        raise _bad(f"{name} must be a valid date") from None
    return None if moment is None else int(moment.timestamp()) * SECOND_MS


def _source(text: str) -> str:
    source = _SOURCES.get(text.strip().lower().replace("_", " "))
    if source is None:
        raise _bad(f"sources must be of: {', '.join(SOURCES)}")
    return source


def _one_of(text: str, name: str, allowed: Iterable[str]) -> str:
    if text in allowed:
        return text
    raise _bad(f"{name} must be one of: {', '.join(allowed)}")


def _short(text: Any, name: str) -> Any:
    if text is not None and len(text) > TEXT_CHARACTERS_MAX:
        raise _bad(f"{name} must be at most {TEXT_CHARACTERS_MAX} characters")
    return text


def _place(cursor: str | None) -> Place | None:
    if cursor is None or cursor == INITIAL:
        return None
    try:
        packed = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found = msgspec.json.decode(packed, type=_Cursor)
    except (binascii.Error, msgspec.MsgspecError, UnicodeError, RecursionError):
        raise _bad("cursor is invalid") from None
    return Place(**msgspec.structs.asdict(found))


def _written(place: Place) -> str:
    # The members of `Place` in its order.
    packed = msgspec.json.encode(
        [
            place.began_at,
            place.updated_at_ms,
            place.recipient,
            place.subaccount_id,
            place.type,
            place.list_id,
            place.change,
        ]
    )
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def _bad(message: str) -> Problem:
    return plain(HTTPStatus.BAD_REQUEST, message)
