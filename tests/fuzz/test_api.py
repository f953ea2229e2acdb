"""The API's parsers: what a caller may write into a query, a header or a body becomes a value or a problem of status 4xx."""

import base64
import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson
from fastapi import FastAPI
from fastapi import Request as ApiRequest
from hypothesis import strategies as st
from tests.fuzz.budget import ODD_TEXTS, altered, fuzz, odd_json, odd_text, without_surrogates

from omni_etl.api import event_cursor, event_query, metric_query, suppression_query, webhooks
from omni_etl.api.auth import key_of
from omni_etl.api.caller import Caller, subaccount_of
from omni_etl.api.metric_window import BUCKETS_MAX
from omni_etl.api.parameters import Parameters
from omni_etl.api.problems import Problem
from omni_etl.api.suppression_changes import NUMBER_MAX, number_of
from omni_etl.api.suppression_members import RECIPIENTS_MAX, many_wishes, parsed, types_of, wishes
from omni_etl.clock import ManualClock
from omni_etl.event import SUBACCOUNT_ID_MAX
from omni_etl.event_search import EventQuery
from omni_etl.event_search import Place as EventPlace
from omni_etl.suppression_list import Place, is_address

QUERY = EventQuery(from_ms=1, to_ms=2, types=frozenset({"open"}))
EVENT_CURSOR = event_cursor.written(QUERY, EventPlace(1, "ab-bulk-1", 3), total_count=9)
PLACE = Place(
    began_at=1, updated_at_ms=2, recipient="a@b.c", subaccount_id=0, type="transactional", list_id="", change=3
)
RECIPIENTS = orjson.dumps(
    {"recipients": [{"recipient": "a@example.com", "type": "transactional", "description": "x"}, {"email": "b@example.com", "non_transactional": True}]}
)  # fmt: skip
MOMENTS = [
    "2026-11-25T09:00",
    "2026-11-25T09:00:00.5-0400",
    "2026-11-25 09:00 0000",
    "0001-01-01T00:00+14:00",
    "9999-12-31T23:59-12:00",
]


@contextlib.contextmanager
def refused_in_words() -> Iterator[None]:
    """A problem is an answer: its status is the caller's to mend, and it can be written as JSON."""
    try:
        yield
    except Problem as problem:
        _is_answer(problem)


def _is_answer(problem: Problem) -> None:
    assert 400 <= problem.status < 500
    assert all(error["message"] for error in problem.errors)
    orjson.dumps(problem.errors)


def request(query: str | Mapping[str, str] = "", *, clock: ManualClock | None = None) -> ApiRequest:
    """As the API hands it on, behind its key."""
    text = query if isinstance(query, str) else "&".join(f"{name}={value}" for name, value in query.items())
    app = FastAPI()
    app.state.parts = type("Parts", (), {"clock": clock or ManualClock()})
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [],
        "query_string": text.encode("utf-8", "replace"),
        "app": app,
    }
    found = ApiRequest(scope)
    found.state.caller = Caller("key")
    return found


@fuzz(
    items=st.lists(
        st.tuples(st.sampled_from(["n", "n[0]", "n[]", "m", "z", "delimiter"]), odd_text() | st.sampled_from(MOMENTS)),
        max_size=6,
    )
)
def test_parameters(items: list[tuple[str, str]]) -> None:
    """Lists, numbers, times and zones."""
    said = Parameters([(name, without_surrogates(value)) for name, value in items])
    said.listed("n")
    with refused_in_words():
        assert 0 <= said.number("n", default=5, least=0, most=100) <= 100
    with refused_in_words():
        moment = said.moment("m")
        assert moment is None or moment.tzinfo is UTC
    with refused_in_words():
        datetime.now(said.zone("z")).isoformat()


@fuzz(
    query=st.dictionaries(
        st.sampled_from(
            [
                "from",
                "to",
                "events",
                "subaccounts",
                "per_page",
                "timezone",
                "delimiter",
                "reason",
                "recipients",
                "ab_tests",
            ]
        ),
        odd_text() | st.sampled_from(MOMENTS),
        max_size=5,
    )
)
def test_searches_for_events(query: dict[str, str]) -> None:
    """Both of today's and of yesterday's API."""
    for names in (event_query.MESSAGE, event_query.OLD, event_query.INGEST):
        with refused_in_words():
            found = event_query.asked(request(query), names)
            assert found.query.from_ms >= 0
            assert 1 <= found.per_page <= event_query.PER_PAGE_MAX


@fuzz(
    query=st.dictionaries(
        st.sampled_from(["from", "to", "metrics", "timezone", "precision", "limit", "order_by", "subaccounts", "domains", "query_filters"]),
        odd_text() | st.sampled_from(MOMENTS) | odd_json().map(lambda value: _json({"groupings": value}).decode()),
        max_size=6,
    )
)  # fmt: skip
def test_reports(query: dict[str, str]) -> None:
    """Whatever stands in them, filters of JSON too."""
    for is_series in (False, True):
        with refused_in_words():
            found = metric_query.asked(request(query), metric_query.Wish(is_series=is_series, is_ordered=True))
            assert len(found.window.begins()) <= BUCKETS_MAX or not is_series


@fuzz(depth=st.integers(1, 2_000), body=odd_json().map(lambda value: _json({"message": value})))
def test_messages_to_try_a_webhook_with(depth: int, body: bytes) -> None:
    """What is sent to the customer, or a problem."""
    for each in (body, b'{"message":[{"msys":{"a":' + b"[" * depth + b"]" * depth + b"}}]}"):
        with refused_in_words():
            assert isinstance(orjson.loads(webhooks._message(each)), list)


@fuzz(
    query=st.dictionaries(
        st.sampled_from(
            [
                "from",
                "to",
                "types",
                "sources",
                "domain",
                "description",
                "description_strict",
                "list_id",
                "sort",
                "per_page",
                "limit",
                "page",
                "cursor",
            ]
        ),
        odd_text() | st.sampled_from(MOMENTS),
        max_size=5,
    )
)
def test_searches_of_the_suppression_list(query: dict[str, str]) -> None:
    """Whatever stands in them."""
    with refused_in_words():
        found = suppression_query.read(request(query), None)
        assert found.offset < suppression_query.PAGED_MAX
        found.links_of_walk(None)


@fuzz(
    cursor=altered(EVENT_CURSOR.encode())
    | altered(base64.urlsafe_b64decode(EVENT_CURSOR + "==")).map(lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"="))
)
def test_event_cursors(cursor: bytes) -> None:
    """Ours, or refused; no digit of it can be changed."""
    with refused_in_words():
        found = event_cursor.read(cursor.decode("latin-1"), QUERY, given={})
        assert found is None or event_cursor.read(EVENT_CURSOR, QUERY, given={}) == found


@fuzz(position=st.integers(0, 5), value=st.integers(0, 2**33) | st.text(max_size=9).map(without_surrogates))
def test_a_cursor_with_another_member(position: int, value: int | str) -> None:
    """Well formed, and refused by its digest unless nothing was changed."""
    members = orjson.loads(base64.urlsafe_b64decode(EVENT_CURSOR + "=="))
    is_same, members[position] = members[position] == value, value
    with refused_in_words():
        event_cursor.read(base64.urlsafe_b64encode(_json(members)).rstrip(b"=").decode(), QUERY, given={})
        assert is_same


@fuzz(members=st.lists(odd_json(), max_size=9))
def test_forged_cursors(members: list[Any]) -> None:
    """Well made from the wrong things; deeper than anything of ours, too."""
    for value in (members, _nested(3_000)):
        packed = base64.urlsafe_b64encode(_json(value)).rstrip(b"=").decode()
        with refused_in_words():
            event_cursor.read(packed, QUERY, given={})
        with refused_in_words():
            suppression_query.read(request({"cursor": packed}), None)


@fuzz(cursor=altered(suppression_query._written(PLACE).encode()))
def test_suppression_cursors(cursor: bytes) -> None:
    """A place, or refused; what is a place is written as it was read."""
    with refused_in_words():
        found = suppression_query.read(request({"cursor": cursor.decode("latin-1")}), None)
        if found.place is not None:
            assert suppression_query._place(suppression_query._written(found.place)) == found.place


@fuzz(
    body=altered(RECIPIENTS)
    | odd_json().map(lambda value: _json({"recipients": value}))
    | odd_json().map(lambda value: _json({"recipients": [{"recipient": "a@b.cd", "type": value}]}))
)
def test_bulk_suppressions(body: bytes) -> None:
    """All or none, and addresses only."""
    with refused_in_words():
        wished = many_wishes(body, 0)
        assert len(wished) <= 2 * RECIPIENTS_MAX
        assert all(is_address(each.recipient) for each in wished)
    with refused_in_words():
        wishes(body, "a@example.com", 0)
    with refused_in_words():
        types_of(parsed(body))


@fuzz(depth=st.integers(1, 2_000))
def test_deep_suppressions(depth: int) -> None:
    """However deep: what is read at one depth is written back at another in the answer."""
    for value in ({"recipient": "DEEP"}, "DEEP", {"recipient": "a@b.cd", "type": "DEEP"}):
        body = orjson.dumps({"recipients": [value]}).replace(b'"DEEP"', b"[" * depth + b"]" * depth)
        with refused_in_words():
            many_wishes(body, 0)


@fuzz(
    text=odd_text()
    | odd_text().map("Basic {}".format)
    | st.binary(max_size=40).map(lambda raw: "Basic " + base64.b64encode(raw).decode())
)
def test_headers(text: str) -> None:
    """Key, subaccount and the number of a change."""
    wire = text.encode("utf-8", "replace").decode("latin-1")
    assert isinstance(key_of(wire), str)
    with refused_in_words():
        assert 0 <= (subaccount_of(wire) or 0) <= SUBACCOUNT_ID_MAX
    with refused_in_words():
        assert 0 <= number_of(wire, "since") <= NUMBER_MAX


def test_every_odd_text_in_every_parameter() -> None:
    """The whole list, once for each."""
    for text in ODD_TEXTS:
        for name in (
            "from",
            "to",
            "events",
            "subaccounts",
            "per_page",
            "timezone",
            "cursor",
            "types",
            "sources",
            "page",
        ):
            with refused_in_words():
                event_query.asked(request({name: text}), event_query.OLD)
            with refused_in_words():
                suppression_query.read(request({name: text}), None)


def _nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def _json(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return msgspec.json.encode(value)
    except (UnicodeEncodeError, OverflowError):
        return b""
