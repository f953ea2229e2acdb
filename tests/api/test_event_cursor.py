"""event_cursor: a cursor is read as it was written, for its own search, and nothing else is taken for one."""

import base64
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_etl.api import event_cursor
from omni_etl.api.event_cursor import TIME_MS_MAX, read, within, written
from omni_etl.api.problems import Problem
from omni_etl.event_search import EventQuery, Place

QUERY = EventQuery(10, 20, frozenset({"open"}), frozenset({7}), {"rcpt_to": ["a"]}, {"subject": ["b"]})
LAST = Place(15, "0123-bulk-1", 4)
NOTHING: Mapping[str, int] = {}

times = st.integers(0, TIME_MS_MAX)
texts = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3)


@given(times, times, st.builds(Place, times, st.text(max_size=60), st.integers(0, 2**32 - 1)), st.integers(0, 10**9))
def test_what_was_written_is_read(from_ms: int, to_ms: int, last: Place, total_count: int) -> None:
    """Window, place and total, whatever they are; the window is the cursor's when the request names none."""
    text = written(EventQuery(from_ms, to_ms, frozenset({"open"})), last, total_count=total_count)
    assert text.isascii()
    later = EventQuery(1, 2, frozenset({"open"}))
    cursor = read(text, later, given=NOTHING)
    assert cursor is not None
    assert (cursor.after, cursor.total_count) == (last, total_count)
    assert within(later, cursor) == EventQuery(from_ms, to_ms, frozenset({"open"}))


@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda each: base64.urlsafe_b64encode(each).decode()))
def test_whatever_else_comes_is_refused(text: str) -> None:
    """400, never a fault of ours."""
    with pytest.raises(Problem) as caught:
        read(text, QUERY, given=NOTHING)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "content",
    [
        b"[1,2,3]", b"{}", b"null", b'[10,20,1,15,"\\ud800",4,""]', b'[10,20,1,15,"k",4,"AAAA"]', b'[10,20,-1,15,"k",4,""]',
        b'[10,20,1,15,"k",4294967296,""]', b'[10,99999999999999999999,1,15,"k",4,""]', b"[" * 5000, b'[10,20,1,15,"k",4,"",1]',
    ],
)  # fmt: skip
def test_a_made_up_one_is_refused(content: bytes) -> None:
    """Of the right form even, without the digest."""
    with pytest.raises(Problem):
        read(base64.urlsafe_b64encode(content).decode(), QUERY, given=NOTHING)


def test_none_and_initial_begin_a_walk() -> None:
    """As does no cursor at all."""
    assert read(None, QUERY, given=NOTHING) is None
    assert read("initial", QUERY, given=NOTHING) is None
    assert within(QUERY, None) is QUERY


@pytest.mark.parametrize(
    "other",
    [
        {"types": frozenset({"click"})}, {"subaccount_ids": None}, {"subaccount_ids": frozenset({8})}, {"exact": {}},
        {"exact": {"message_id": ["a"]}}, {"words": {"subject": ["c"]}}, {"words": {"subject": ["b", "c"]}},
    ],
)  # fmt: skip
def test_another_search_refuses_it(other: dict[str, object]) -> None:
    """Whichever part of it is another."""
    text = written(QUERY, LAST, total_count=1)
    members = {name: getattr(QUERY, name) for name in ("from_ms", "to_ms", "types", "subaccount_ids", "exact", "words")}
    assert read(text, QUERY, given={"from_ms": 10, "to_ms": 20}) is not None
    with pytest.raises(Problem):
        read(text, EventQuery(**{**members, **other}), given=NOTHING)
    with pytest.raises(Problem):
        read(text, QUERY, given={"from_ms": 11})


def test_the_order_of_values_says_nothing() -> None:
    """Two spellings of one search share their cursors."""
    one = EventQuery(1, 2, frozenset({"open", "click"}), None, {"rcpt_to": ["a", "b"]})
    two = EventQuery(1, 2, frozenset({"click", "open"}), None, {"rcpt_to": ["b", "a"]})
    assert read(written(one, LAST, total_count=1), two, given=NOTHING) is not None


def test_it_is_short() -> None:
    """A link with it goes into any URI."""
    key = "0123456789abcdef0123456789abcdef-express-123456789"
    query = EventQuery(TIME_MS_MAX, TIME_MS_MAX, frozenset({"open"}))
    assert len(written(query, Place(TIME_MS_MAX, key, 99_999), total_count=10**9)) < 256
    assert msgspec.json.decode(base64.urlsafe_b64decode(written(query, LAST, total_count=0) + "==="))
    assert event_cursor.INITIAL == "initial"
