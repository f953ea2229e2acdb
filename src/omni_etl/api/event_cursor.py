"""Cursor: where the next page of a search begins, for which search, and what was found out once for all of its pages.

It is checked, not secret: whoever made one up would see their own events from another place, and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec

from omni_etl.api.problems import plain
from omni_etl.event import TIMESTAMP_MAX
from omni_etl.event_search import EventQuery, Place

INITIAL: Final = "initial"
TIME_MS_MAX: Final = TIMESTAMP_MAX * 1000 + 1
KEY_CHARACTERS_MAX: Final = 256

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=TIME_MS_MAX)]


class Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The window stays as it was when the walk began, whatever `now` is."""

    from_ms: Milliseconds
    to_ms: Milliseconds
    total_count: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    timestamp_ms: Milliseconds
    envelope_key: Annotated[str, msgspec.Meta(max_length=KEY_CHARACTERS_MAX)]
    line_number: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
    digest: bytes = b""

    @property
    def after(self) -> Place:
        """The last event of the page before."""
        return Place(self.timestamp_ms, self.envelope_key, self.line_number)


def written(query: EventQuery, last: Place, *, total_count: int) -> str:
    """The cursor of a page that ends here."""
    cursor = Cursor(query.from_ms, query.to_ms, total_count, *last)
    sealed = msgspec.structs.replace(cursor, digest=_digest(cursor, query))
    return base64.urlsafe_b64encode(msgspec.json.encode(sealed)).rstrip(b"=").decode()


def read(text: str | None, query: EventQuery, *, given: Mapping[str, Any]) -> Cursor | None:
    """The cursor of this search; None where it is its first page. `given` are the ends of the window that the request names.

    Raises:
        Problem: 400, no cursor of ours, or of another search.

    """
    if text is None or text == INITIAL:
        return None
    try:
        packed = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = msgspec.json.decode(packed, type=Cursor)
    except (binascii.Error, msgspec.MsgspecError, UnicodeError):
        raise _invalid() from None
    is_ours = cursor.digest == _digest(cursor, query)
    window = {"from_ms": cursor.from_ms, "to_ms": cursor.to_ms}
    if not is_ours or any(value != window[name] for name, value in given.items()):
        raise _invalid()
    return cursor


def within(query: EventQuery, cursor: Cursor | None) -> EventQuery:
    """The search in the window of its walk."""
    return query if cursor is None else replace(query, from_ms=cursor.from_ms, to_ms=cursor.to_ms)


def _digest(cursor: Cursor, query: EventQuery) -> bytes:
    """Of all that the cursor says and of what is looked for, but for the window, which may be left out from the second page on."""
    asked = {
        "types": sorted(query.types),
        "subaccount_ids": query.subaccount_ids,
        "exact": {name: sorted(values) for name, values in query.exact.items()},
        "words": {name: sorted(values) for name, values in query.words.items()},
    }
    said = msgspec.structs.replace(cursor, digest=b"")
    return hashlib.blake2b(msgspec.json.encode([said, asked], order="sorted"), digest_size=12).digest()


def _invalid() -> Exception:
    return plain(HTTPStatus.BAD_REQUEST, "cursor is invalid, or of another search")
