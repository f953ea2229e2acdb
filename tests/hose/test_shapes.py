"""hose.shapes: many lines at a glance, never another verdict than `event.check`."""

from collections.abc import Sequence
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hose.hoses import event

from omni_etl.demo.life import events
from omni_etl.event import Refused, check
from omni_etl.hose import shapes as shapes_module
from omni_etl.hose.shapes import Shapes

GOOD = event(1)
ODD_LINES = [
    b"",
    b"{}",
    b"[]",
    b'"a"',
    b"1",
    b"{",
    b"}",
    b'{"a":[1',
    b"2]}",
    b'{"type":"open","timestamp":"1","x":"a',
    b'b"}',
    b'{"type":"open","timestamp":"1"},{"type":"open","timestamp":"1"}',
    b'{"type":"open","timestamp":"1"}{"type":"open","timestamp":"1"}',
    b'{"type":"open","timestamp":"1","x":[1',
    b",2]}",
    b'{"type":"open","timestamp":"1"} ',
    b' {"type":"open","timestamp":"1"}',
    b'{"type":"open", "timestamp":"1"}',
    b'{"type":"open","timestamp":"1","type":"click"}',
    b'{"type":"open","timestamp":"1","x":"a","x":"b"}',
    b'{"type":"open","timestamp":"1","x":1e5}',
    b'{"type":"open","timestamp":"1","x":1.0}',
    b'{"type":"open","timestamp":"1","x":-0}',
    b'{"type":"open","timestamp":"1","x":1.10}',
    b'{"type":"open","timestamp":"1","x":{"a":1.5}}',
    b'{"type":"open","timestamp":"1","x":{"a":1.50}}',
    b'{"type":"open","timestamp":"1","x":{"a":1,"a":2}}',
    b'{"type":"open","timestamp":"1","x":{"a":"1","b":"2"}}',
    b'{"type":"open","timestamp":"1","x":{"a":"1"}}',
    b'{"type":"open","timestamp":"1","x":{"a":"}"}}',
    b'{"type":"open","timestamp":"1","x":{"a" :"1"}}',
    b'{"type":"open","timestamp":"1","x":["a", "b"]}',
    b'{"type":"open","timestamp":"1","x":["a","b"]}',
    b'{"type":"open","timestamp":"1","x":[]}',
    b'{"type":"open","timestamp":"1","x":{}}',
    b'{"type":"open","timestamp":"1","x":null}',
    b'{"type":"open","timestamp":"1","x":true}',
    b'{"type":"open","timestamp":"1","x":123456789012345678901234567890}',
    b'{"type":"open","timestamp":"1","x":18446744073709551615}',
    b'{"type":"open","timestamp":"1","x":18446744073709551616}',
    b'{"type":"open","timestamp":"1","x":"\\u0041"}',
    b'{"type":"open","timestamp":"1","x":"\\ud800"}',
    b'{"type":"open","timestamp":"1","x":"\\u0007"}',
    b'{"type":"open","timestamp":"1","x":"\\u0008"}',
    b'{"type":"open","timestamp":"1","x":"\\u001F"}',
    b'{"type":"open","timestamp":"1","x":"\\u001f"}',
    b'{"type":"open","timestamp":"1","x":"\\/"}',
    b'{"type":"open","timestamp":"1","x":"\\\\"}',
    b'{"type":"open","timestamp":"1","x":"\\"}',
    b'{"type":"open","timestamp":"1","x":"a\\",\\"b"}',
    b'{"type":"open","timestamp":"1","x":"\xff"}',
    b'{"type":"open","timestamp":"1","x":"\xed\xa0\x80"}',
    b'{"type":"open","timestamp":"1","x":"\x7f"}',
    b'{"type":"open","timestamp":"1","x":"\t"}',
    b'{"type":"open","timestamp":"1","x":"\x00"}',
    b'{"type":"open","timestamp":"1","event_id":null}',
    b'{"type":"open","timestamp":"1","event_id":""}',
    b'{"type":"open","timestamp":"1","event_id":"7"}',
    b'{"type":"open","timestamp":"1","event\\nid":"7"}',
    b'{"type":"open","timestamp":"1","event\x7fid":"7"}',
    b'{"type":"open","timestamp":"1","msys":{}}',
    b'{"type":"open","timestamp":"1","subaccount_id":"-1"}',
    b'{"type":"open","timestamp":"1","subaccount_id":"2147483647"}',
    b'{"type":"open","timestamp":"1","subaccount_id":"2147483648"}',
    b'{"type":"open","timestamp":"1","subaccount_id":7}',
    b'{"type":"open","timestamp":"1","subaccount_id":""}',
    b'{"type":"open","timestamp":"1","subaccount_id":null}',
    b'{"type":"open","timestamp":"1","subject":null}',
    b'{"type":"open","timestamp":"1","subject":"s"}',
    b'{"type":"open","timestamp":"1","subject":7}',
    b'{"type":"open","timestamp":"1","user_agent_parsed":{"is_prefetched":true,"os":"x"}}',
    b'{"type":"open","timestamp":"1","user_agent_parsed":{"is_prefetched":"true"}}',
    b'{"type":"open","timestamp":"1","user_agent_parsed":{"is_prefetched":1}}',
    b'{"type":"open","timestamp":"1","user_agent_parsed":null}',
    b'{"type":"open","timestamp":"1","user_agent_parsed":[]}',
    b'{"type":"open","timestamp":1}',
    b'{"type":"open","timestamp":""}',
    b'{"type":"open","timestamp":"4102444801"}',
    b'{"type":"open","timestamp":"1.5"}',
    b'{"type":"opened","timestamp":"1"}',
    b'{"type":"bounce","timestamp":"1","bounce_class":"10"}',
    b'{"type":"bounce","timestamp":"1","bounce_class":"20"}',
    b'{"type":"bounce","timestamp":"1","bounce_class":null}',
    b'{"type":"open","timestamp":"1","x":' + b"[" * 31 + b"]" * 31 + b"}",
    b'{"type":"open","timestamp":"1","x":' + b"[" * 32 + b"]" * 32 + b"}",
    b'{"type":"open","timestamp":"1","x":"' + b"x" * 131_072 + b'"}',
    b'{"msys":{"track_event":{"type":"open","timestamp":"1"}}}',
]


def _taught(lines: Sequence[bytes]) -> Shapes:
    """That has seen of these what it did not know and `check` passed as it was."""
    shapes = Shapes()
    for line in lines:
        if shapes.known([line])[0] is not None:
            continue
        try:
            checked = check(line)
        except Refused:
            continue
        if checked is not None and checked.line == line:
            shapes.learn(line)
    return shapes


def _agree(shapes: Shapes, lines: Sequence[bytes]) -> int:
    """How many were known; whatever was said of them, `check` says the same."""
    known_count = 0
    for line, known in zip(lines, shapes.known(lines), strict=True):
        if known is None:
            continue
        known_count += 1
        try:
            checked = check(line, since=shapes.since)
        except Refused as refused:
            raise AssertionError(f"{line!r} passed, but {refused}") from None
        assert checked is not None, line
        assert checked.line == line
        assert (checked.type, checked.has_id, checked.suppresses) == (known.type, known.has_id, known.suppresses), line
    return known_count


def test_lines_of_the_demo_are_known_after_a_few() -> None:
    """The way that nearly all events take."""
    lines = list(events(6_000, seed=1, now=1.764e9))
    shapes = _taught(lines[:3_000])
    blocks = [lines[start : start + 100] for start in range(3_000, 6_000, 100)]
    assert sum(_agree(shapes, block) for block in blocks) > 0.95 * 3_000


def test_what_was_seen_once_is_known_and_has_its_verdict() -> None:
    """Nested values, escapes, numbers and all."""
    lines = [event(number, "bounce", bounce_class="10", x={"a": [1, 2.5, None, "é"]}, y='"\n') for number in range(9)]
    shapes = _taught(lines[:1])
    assert [(known.has_id, known.suppresses) for known in shapes.known(lines) if known] == [(True, True)] * 9


@pytest.mark.parametrize("line", ODD_LINES)
def test_an_odd_line_among_good_ones_gets_no_other_verdict(line: bytes) -> None:
    """Whatever was learned before, of each of them alone and of all together."""
    for taught in (_taught([GOOD, line]), _taught([GOOD, *ODD_LINES])):
        _agree(taught, [line])
        _agree(taught, [GOOD, line, GOOD])


@given(st.lists(st.sampled_from([GOOD, *ODD_LINES]), min_size=1, max_size=5))
def test_lines_that_make_sense_only_together_are_not_taken_together(lines: list[bytes]) -> None:
    """Halves of objects, two objects on one line, in every combination."""
    _agree(_taught([GOOD, *ODD_LINES]), lines)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = st.dictionaries(
    st.sampled_from(
        [
            "x",
            "y",
            "y\n",
            "y\x7f",
            "subject",
            "rcpt_to",
            "subaccount_id",
            "event_id",
            "bounce_class",
            "user_agent_parsed",
            "msys",
        ]
    ),
    VALUES | st.sampled_from(["10", "7", {"is_prefetched": True}, {"is_prefetched": 0}]),
    max_size=5,
)
PIECES = st.sampled_from(
    [b"", b'"', b"\\", b",", b":", b"{", b"}", b"[", b"]", b" ", b"0", b"\xff", b"\t", b'\\"', b'"x":1,', b'","', b"e"]
)


@given(st.lists(MEMBERS, min_size=1, max_size=5), st.data())
def test_any_event_and_any_damage_to_it_gets_no_other_verdict(
    members: list[dict[str, object]], data: st.DataObject
) -> None:
    """Shapes learned from some events judge others, and bytes put in, left out or changed in them."""
    lines = [orjson.dumps({"type": "bounce", "timestamp": "1", **each}) for each in members]
    shapes = _taught(lines)
    _agree(shapes, lines)
    line = data.draw(st.sampled_from(lines))
    start = data.draw(st.integers(0, len(line)))
    end = data.draw(st.integers(start, min(len(line), start + 3)))
    damaged = line[:start] + data.draw(PIECES) + line[end:]
    _agree(shapes, [damaged])
    _agree(shapes, [GOOD, damaged, *lines])


@given(
    st.integers(1, 86_400 * 1_000),
    st.integers(0, 2_900_000_000),
    st.lists(st.integers(-100, 100) | st.integers(-(10**7), 10**7), min_size=1),
)
def test_no_event_is_known_that_is_too_old(age_seconds: int, second: int, beside: list[int]) -> None:
    """Whatever the limit, and also when it moves or goes again; nobody takes what `check` refuses."""
    times = [max(0, second + each) for each in [0, -1, *beside]]
    lines = [orjson.dumps({"type": "open", "timestamp": str(time)}) for time in times]
    shapes = _taught(lines)
    for limit in (second, second + 10**6, second - 10**6, 0):
        shapes.take_since(limit, now=limit + age_seconds)
        _agree(shapes, lines)
    assert _agree(shapes, lines) == len([time for time in times if time < 4 * 10**9])


@pytest.mark.parametrize("days", [1, 7, 30, 365, 3_650])
def test_events_that_are_young_enough_are_known(days: int) -> None:
    """But for those near the limit: what is in the last half of the time allowed is known, before and after it moved."""
    now = 1_790_000_000
    shapes = _taught([orjson.dumps({"type": "open", "timestamp": str(now)})])
    for moment in (now, now + 86_400 * 3, now + 86_400 * 90):
        shapes.take_since(moment - days * 86_400, now=moment)
        ages = [0, days * 86_400 // 4, days * 86_400 // 2]
        lines = [orjson.dumps({"type": "open", "timestamp": str(moment - each)}) for each in ages]
        assert _agree(shapes, lines) == len(lines)
        shapes.learn(orjson.dumps({"type": "open", "timestamp": str(moment), f"a{days}": "b"}))


def test_a_limit_that_moves_a_little_costs_nothing() -> None:
    """The expressions are made anew once a day, not with every request."""
    shapes = _taught([orjson.dumps({"type": "open", "timestamp": "1790000000"})])
    patterns = set()
    for minute in range(0, 86_400, 60):
        now = 1_790_000_000 + minute
        shapes.take_since(now - 30 * 86_400, now=now)
        shapes.known([b'{"type":"open","timestamp":"1790000000"}'])
        [shape] = shapes._types[b"open"].shapes
        patterns.add(id(shape.match.__self__))  # type: ignore[attr-defined]  # the compiled expression's own method
    assert len(patterns) <= 2


def test_keys_in_several_orders_are_each_known() -> None:
    """Two producers of one type; and no more orders are kept than a limit."""
    orders = [["a", "b", "c"], ["c", "b", "a"], ["b", "a", "c"]]
    lines = [orjson.dumps({"type": "open", "timestamp": "1", **dict.fromkeys(each, "v")}) for each in orders]
    shapes = _taught(lines * 9)  # some guesses at one order for all come first
    assert _agree(shapes, lines) == 3
    more = [orjson.dumps({f"k{number}": "v", "type": "open", "timestamp": "1"}) for number in range(9)]
    many = _taught(more)
    assert len([known for known in many.known(more) if known]) == shapes_module.ORDERS_MAX


def test_an_order_that_was_guessed_wrong_is_guessed_again() -> None:
    """Of two keys that no line had both, the order is not known; the line that has both tells it."""
    both = {"type": "open", "timestamp": "1", "a": "v", "b": "v"}
    without = [{name: value for name, value in both.items() if name != gone} for gone in ("b", "a")]
    lines = [orjson.dumps(each) for each in (*without, both)]
    shapes = _taught(lines)
    assert _agree(shapes, lines) == 3


def test_lessons_are_given_at_first_and_then_seldom() -> None:
    """A producer whose lines are all different must not cost more than if none were learned."""
    lines = [orjson.dumps({"type": "open", "timestamp": "1", f"k{number}": "v"}) for number in range(3_000)]
    shapes = Shapes()
    for line in lines:
        shapes.learn(line)
    learned = [bool(known) for known in shapes.known(lines)]
    first = learned.index(False)
    assert first <= shapes_module.LESSONS_AT_FIRST
    later = [at for at, known in enumerate(learned) if known and at > first]
    assert all(after - before >= shapes_module.UNKNOWN_PER_LESSON for before, after in pairwise(later))
    assert len(later) == 2


def test_a_shape_does_not_grow_for_ever() -> None:
    """One that is full begins anew with the line at hand."""
    shapes = Shapes()
    lines = [
        orjson.dumps({"type": "open", "timestamp": "1", **{f"k{number}-{at}": "v" for at in range(50)}})
        for number in range(8)
    ]
    for line in lines:
        shapes.learn(line)
    assert _agree(shapes, lines[-1:]) == 1
    assert all(len(shape._names) <= shapes_module.NAMES_MAX for shape in shapes._types[b"open"].shapes)
