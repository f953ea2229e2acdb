"""Event query: what a request to search events asks for, in the names of each API (reference: SparkPost, §3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request

from omni_etl.api.caller import caller
from omni_etl.api.parameters import Parameters
from omni_etl.api.problems import invalid, plain
from omni_etl.event import GROUPS, SUBACCOUNT_ID_MAX, TIMESTAMP_MAX, TYPES
from omni_etl.event_search import EventQuery

INGEST_TYPES: Final = frozenset(GROUPS["ingest_event"])
MESSAGE_TYPES: Final = TYPES - INGEST_TYPES
URI_CHARACTERS_MAX: Final = 4096  # without the cursor: a search that may be asked can be walked to its end
PER_PAGE: Final = 1000
PER_PAGE_MAX: Final = 10_000
DAY_MS: Final = 24 * 60 * 60 * 1000
MINUTE_MS: Final = 60 * 1000
TIME_MS_MAX: Final = TIMESTAMP_MAX * 1000 + 1


@dataclass(frozen=True, slots=True)
class Names:
    """The parameters of one API: which field each of them asks for, and how."""

    types: frozenset[str]
    exact: Mapping[str, str]
    words: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""  # texts anywhere in a reason, as `%text%` or plain
    retryable: str = ""
    timezone: str = ""  # of `from` and `to`


MESSAGE: Final = Names(
    types=MESSAGE_TYPES,
    exact={
        "event_ids": "event_id",
        "recipients": "rcpt_to",
        "from_addresses": "friendly_from",
        "bounce_classes": "bounce_class",
        "sending_ips": "sending_ip",
        "messages": "message_id",
        "transmissions": "transmission_id",
        "ab_test_versions": "ab_test_version",
    },
    words={
        "recipient_domains": "recipient_domain",
        "sending_domains": "sending_domain",
        "subjects": "subject",
        "campaigns": "campaign_id",
        "templates": "template_id",
        "ip_pools": "ip_pool",
        "reasons": "reason",
        "mailbox_providers": "mailbox_provider",
        "mailbox_provider_regions": "mailbox_provider_region",
        "ab_tests": "ab_test_id",
    },
)
INGEST: Final = Names(
    types=INGEST_TYPES, exact={"event_ids": "event_id", "batch_ids": "batch_id"}, retryable="retryable"
)
OLD: Final = Names(
    types=MESSAGE_TYPES,
    exact={
        "event_ids": "event_id",
        "recipients": "rcpt_to",
        "friendly_froms": "friendly_from",
        "bounce_classes": "bounce_class",
        "message_ids": "message_id",
        "transmission_ids": "transmission_id",
    },
    words={
        "subjects": "subject",
        "campaign_ids": "campaign_id",
        "template_ids": "template_id",
        "ab_test_ids": "ab_test_id",
    },
    reason="reason",
    timezone="timezone",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request in our words."""

    query: EventQuery
    window: Mapping[str, int]  # the ends that the request names itself
    per_page: int


def asked(request: Request, names: Names) -> Asked:
    """What the caller may see of what it asks for: the key of a subaccount sees its own, whatever it says.

    Raises:
        Problem: 400, or 414 for a request that is too long.

    """
    if len(request.url.path) + len(query_without(request, "cursor")) > URI_CHARACTERS_MAX:
        raise plain(HTTPStatus.REQUEST_URI_TOO_LONG, f"the URI is longer than {URI_CHARACTERS_MAX} characters")
    said = Parameters.of(request)
    window = _window(said, names)
    now_ms = int(request.app.state.parts.clock.now() * 1000)
    query = EventQuery(
        from_ms=window.get("from_ms", now_ms - DAY_MS),
        to_ms=window.get("to_ms", now_ms - MINUTE_MS),
        types=_types(said, names.types),
        subaccount_ids=_subaccounts(said, caller(request).subaccount_id),
        exact=_values(said, names.exact) | _retryable(said, names),
        words=_values(said, names.words),
        reason_parts=_reason_parts(said, names),
    )
    if "ab_test_version" in query.exact and "ab_test_id" not in query.words:
        raise invalid("ab_test_versions", "ab_test_versions requires ab_tests")
    return Asked(query, window, said.number("per_page", default=PER_PAGE, least=1, most=PER_PAGE_MAX))


def query_without(request: Request, name: str) -> str:
    """The query of a request as it can be sent again, but for one parameter."""
    return urlencode([(each, value) for each, value in request.query_params.multi_items() if each != name])


def types_named(said: Parameters, among: frozenset[str]) -> list[str]:
    """The types in `events`, in the order of the request.

    Raises:
        Problem: 400, a type that is none.

    """
    named = said.listed("events")
    unknown = sorted(set(named) - among)
    if unknown:
        raise invalid("events", f"events holds unknown types: {', '.join(unknown)[:200]}")
    return named


def _types(said: Parameters, among: frozenset[str]) -> frozenset[str]:
    return frozenset(types_named(said, among)) or among


def _window(said: Parameters, names: Names) -> dict[str, int]:
    zone = said.zone(names.timezone) if names.timezone else None
    found = {f"{name}_ms": said.moment(name, zone) for name in ("from", "to")}
    window = {name: _milliseconds(moment) for name, moment in found.items() if moment is not None}
    if window.get("from_ms", 0) > window.get("to_ms", TIME_MS_MAX):
        raise invalid("from", "from must be before to")
    return window


def _milliseconds(moment: datetime) -> int:
    """The first of them at or after this moment, as far as an event can have one."""
    microseconds = int(moment.timestamp()) * 1_000_000 + moment.microsecond
    return min(max(-(-microseconds // 1000), 0), TIME_MS_MAX)


def _subaccounts(said: Parameters, own: int | None) -> frozenset[int] | None:
    named = said.listed("subaccounts")
    numbers = [text for text in named if text.isascii() and text.isdigit() and len(text) <= 10]  # noqa: PLR2004 its digits
    if len(numbers) < len(named) or any(int(text) > SUBACCOUNT_ID_MAX for text in numbers):
        raise invalid("subaccounts", f"subaccounts must be numbers from 0 to {SUBACCOUNT_ID_MAX}")
    if own is not None:
        return frozenset({own})
    return frozenset(map(int, numbers)) or None


def _values(said: Parameters, names: Mapping[str, str]) -> dict[str, Sequence[str]]:
    found = {column: said.listed(name) for name, column in names.items()}
    return {column: values for column, values in found.items() if values}


def _retryable(said: Parameters, names: Names) -> dict[str, Sequence[str]]:
    text = said.text(names.retryable) if names.retryable else None
    if text is None:
        return {}
    if text not in {"true", "false"}:
        raise invalid(names.retryable, f"{names.retryable} must be true or false")
    return {"retryable": [text]}


def _reason_parts(said: Parameters, names: Names) -> list[str]:
    parts = [text.strip("%") for text in said.listed(names.reason)] if names.reason else []
    return [part for part in parts if part]


def described(names: Names) -> list[dict[str, Any]]:
    """The parameters, for `openapi_extra`."""
    zone = f"In the zone of {names.timezone} where none is given." if names.timezone else "UTC where no zone is given."
    listed = {"events": f"Of {', '.join(sorted(names.types))}.", **dict.fromkeys(names.exact, "One of these.")}
    listed |= dict.fromkeys(names.words, "Whole words in a row, whatever their case.")
    listed |= {names.reason: "Texts that stand anywhere in it."} if names.reason else {}
    found = [
        _text("from", f"Inclusive; 24 hours ago where it is left out. {zone}"),
        _text("to", f"Exclusive; a minute ago where it is left out. {zone}"),
        _parameter("per_page", {"type": "integer", "minimum": 1, "maximum": PER_PAGE_MAX, "default": PER_PAGE}),
        _text("delimiter", "Between the values of a list.", default=","),
        *(_text(name, f"A list. {meaning}") for name, meaning in listed.items()),
        _text("subaccounts", "A list of numbers; 0 is the primary account. A subaccount's key sees its own alone."),
    ]
    found += [_text(names.timezone, "Of from and to.", default="UTC")] if names.timezone else []
    found += [_parameter(names.retryable, {"type": "boolean"})] if names.retryable else []
    return found


def _text(name: str, meaning: str, **more: Any) -> dict[str, Any]:
    return _parameter(name, {"type": "string", "description": meaning, **more})


def _parameter(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}
