"""The members of a suppression: what clients send, with SparkPost's old names, and what they are shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import orjson

from omni_etl.api.problems import plain
from omni_etl.suppression_list import TYPES, Entry, SuppressionType, Wish, address_key, is_address

RECIPIENTS_MAX: Final = 10_000
DESCRIPTION_CHARACTERS_MAX: Final = 4_096
MALFORMED_SHOWN_MAX: Final = 100
MALFORMED_CHARACTERS_SHOWN: Final = 100
LIST_ID_CHARACTERS_MAX: Final = 255

_LIST_ID: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")


def wishes(body: bytes, recipient: str, subaccount_id: int) -> list[Wish]:
    """Of a PUT of one recipient: one wish for each type.

    Raises:
        Problem: 400, what is wrong.

    """
    members = parsed(body)
    key = address_key(recipient)
    if not is_address(key):
        raise _bad(f"Invalid email address: {_cut(recipient)}")
    return list(_of_one(members, key, subaccount_id))


def many_wishes(body: bytes, subaccount_id: int) -> list[Wish]:
    """Of a PUT of many, all or none. Of an address that stands there twice only the first is heard, as at SparkPost.

    Raises:
        Problem: 400, what is wrong.

    """
    recipients = parsed(body).get("recipients")
    if not isinstance(recipients, list):
        raise _bad("'recipients' is required" if recipients is None else "'recipients' must be an array")
    if not 1 <= len(recipients) <= RECIPIENTS_MAX:
        raise _bad(f"'recipients' must have 1 to {RECIPIENTS_MAX} elements")
    keys = [_key(each) for each in recipients]
    malformed = [_name(each) for each, key in zip(recipients, keys, strict=True) if key is None]
    if malformed:
        names = ", ".join(malformed[:MALFORMED_SHOWN_MAX]) + (", …" if len(malformed) > MALFORMED_SHOWN_MAX else "")
        raise _bad(f"PUT body contains {len(malformed)} invalid or malformed recipient(s): {names}")
    first: dict[str, Mapping[str, Any]] = {}
    found: list[Wish] = []
    for key, members in zip(keys, recipients, strict=True):
        made = list(_of_one(members, str(key), subaccount_id))  # what is not heard must be right, too
        if first.setdefault(str(key), members) is members:
            found += made
    return found


def parsed(body: bytes) -> dict[str, Any]:
    """A body that is one JSON object.

    Raises:
        Problem: 400, it is none.

    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _bad(f"Request body parsing failed [Attached error message: {error}]") from None
    if not isinstance(found, dict):
        raise _bad("'request body' must be an object")
    return found


def types_of(members: Mapping[str, Any]) -> list[SuppressionType]:
    """Which types are meant, by `type` or by the old booleans; a false one says nothing.

    Raises:
        Problem: 400, something else is there.

    """
    said = members.get("type")
    if said is not None:
        type_of(said)
    for name in TYPES:
        if not isinstance(members.get(name, False), bool | None):
            raise _bad(f"{name} must be a boolean if present")
    return [name for name in TYPES if name == said or members.get(name) is True]


def type_of(said: object) -> SuppressionType:
    """One type.

    Raises:
        Problem: 400, it is none.

    """
    for name in TYPES:
        if name == said:
            return name
    raise _bad("Type must be one of: 'transactional', 'non_transactional'")


def list_id_of(said: object) -> str:
    """A mailing list's; RFC 2919 gives the form.

    Raises:
        Problem: 400, it is none.

    """
    if isinstance(said, str) and len(said) <= LIST_ID_CHARACTERS_MAX and _LIST_ID.fullmatch(said):
        return said
    raise _bad(
        f"list_id must be 1 to {LIST_ID_CHARACTERS_MAX} characters of letters, digits, '-', '_' and '.', "
        "without a dot at its beginning or end, or two dots together"
    )


def shown(entry: Entry) -> dict[str, Any]:
    """As SparkPost shows it."""
    members: dict[str, Any] = {
        "recipient": entry.recipient,
        "type": entry.type,
        "source": entry.source,
        "description": entry.description,
        "created": moment(entry.created_at_ms),
        "updated": moment(entry.updated_at_ms),
        entry.type: True,
    }
    if entry.list_id:
        members["list_id"] = entry.list_id
    if entry.subaccount_id:
        members["subaccount_id"] = str(entry.subaccount_id)
    return members


def found(entries: Sequence[Entry], *, total_count: int, links: Sequence[Mapping[str, str]] = ()) -> bytes:
    """The body of an answer that lists entries."""
    return orjson.dumps({"results": [shown(each) for each in entries], "links": links, "total_count": total_count})


def moment(milliseconds: int) -> str:
    """Whole seconds in UTC."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).isoformat()


def _of_one(members: Mapping[str, Any], key: str, subaccount_id: int) -> Iterator[Wish]:
    types = types_of(members)
    if not types:
        raise _bad("Must supply a suppression type")
    description = members.get("description")
    if not isinstance(description, str | None):
        raise _bad("description must be a string if present")
    if len(description or "") > DESCRIPTION_CHARACTERS_MAX:
        raise _bad(f"description must be at most {DESCRIPTION_CHARACTERS_MAX} characters")
    list_id = members.get("list_id")
    where = "" if list_id is None else list_id_of(list_id)
    for each in types:
        yield Wish(subaccount_id, key, each, description or "", where)


def recipient_of(members: Mapping[str, Any]) -> object:
    """By its name of today, or by the old one."""
    said = members.get("recipient")
    return members.get("email") if said is None else said


def _key(members: object) -> str | None:
    said = recipient_of(members) if isinstance(members, dict) else None
    key = address_key(said) if isinstance(said, str) else ""
    return key if is_address(key) else None


def _name(members: object) -> str:
    said = recipient_of(members) if isinstance(members, dict) else members
    try:
        return _cut(said if isinstance(said, str) else orjson.dumps(said).decode())
    except orjson.JSONEncodeError:  # it reads deeper than it writes
        return "…"


def _cut(text: str) -> str:
    return text if len(text) <= MALFORMED_CHARACTERS_SHOWN else text[:MALFORMED_CHARACTERS_SHOWN] + "…"


def _bad(message: str) -> Exception:
    return plain(HTTPStatus.BAD_REQUEST, message)
