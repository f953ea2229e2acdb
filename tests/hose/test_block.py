"""hose.block: many lines at once, never another verdict than `event.check`."""

from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hose.hoses import event

from omni_etl.event import Refused, check, suppresses
from omni_etl.hose.block import check_block

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
    b'{"type":"open","timestamp":"1","x":1e5}',
    b'{"type":"open","timestamp":"1","x":1.0}',
    b'{"type":"open","timestamp":"1","x":123456789012345678901234567890}',
    b'{"type":"open","timestamp":"1","x":"\\u0041"}',
    b'{"type":"open","timestamp":"1","x":"\\ud800"}',
    b'{"type":"open","timestamp":"1","x":"\xff"}',
    b'{"type":"open","timestamp":"1","x":"\t"}',
    b'{"type":"open","timestamp":"1","event_id":null}',
    b'{"type":"open","timestamp":"1","event_id":""}',
    b'{"type":"open","timestamp":"1","msys":{}}',
    b'{"type":"open","timestamp":"1","subaccount_id":"-1"}',
    b'{"type":"open","timestamp":"1","subaccount_id":"2147483647"}',
    b'{"type":"open","timestamp":"1","subaccount_id":"2147483648"}',
    b'{"type":"open","timestamp":"1","subaccount_id":7}',
    b'{"type":"open","timestamp":"1","subaccount_id":""}',
    b'{"type":"open","timestamp":1}',
    b'{"type":"open","timestamp":"4102444801"}',
    b'{"type":"open","timestamp":"1.5"}',
    b'{"type":"opened","timestamp":"1"}',
    b'{"type":"bounce","timestamp":"1","bounce_class":"10"}',
    b'{"type":"open","timestamp":"1","x":' + b"[" * 31 + b"]" * 31 + b"}",
    b'{"type":"open","timestamp":"1","x":' + b"[" * 32 + b"]" * 32 + b"}",
    b'{"type":"open","timestamp":"1","x":"' + b"x" * 131_072 + b'"}',
    b'{"msys":{"track_event":{"type":"open","timestamp":"1"}}}',
]


def test_good_lines_pass_at_once() -> None:
    """The way that nearly all events take."""
    lines = [
        event(number, "bounce", bounce_class="10", nested={"a": [1, 2.5, None, True, "é"]}) for number in range(10)
    ]
    block = check_block(lines)
    assert block is not None
    assert [fields.event_id for fields in block] == [f"id{number}" for number in range(10)]


@pytest.mark.parametrize("line", ODD_LINES)
def test_an_odd_line_among_good_ones_gets_no_other_verdict(line: bytes) -> None:
    """Passed only where `check` passes it unchanged."""
    _agree([line])
    _agree([GOOD, line, GOOD])


@given(st.lists(st.sampled_from([GOOD, *ODD_LINES]), min_size=1, max_size=5))
def test_lines_that_make_sense_only_together_are_not_taken_together(lines: list[bytes]) -> None:
    """Halves of objects, two objects on one line, in every combination."""
    _agree(lines)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(
                ["x", "subject", "rcpt_to", "subaccount_id", "event_id", "timestamp", "bounce_class", "msys"]
            ),
            st.recursive(
                st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
                max_leaves=5,
            ),
            max_size=4,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_event_gets_no_other_verdict(members: list[dict[str, object]]) -> None:
    """Whatever its fields hold."""
    events = [{"type": "bounce", "timestamp": "1", **each} for each in members]
    _agree([orjson.dumps(each, option=orjson.OPT_PASSTHROUGH_DATACLASS) for each in events if _fits(each)] or [GOOD])


def _agree(lines: Sequence[bytes]) -> None:
    block = check_block(lines)
    if block is None:
        return
    for line, fields in zip(lines, block, strict=True):
        try:
            checked = check(line)
        except Refused as refused:
            raise AssertionError(f"{line!r} passed, but {refused}") from None
        assert checked is not None
        assert checked.line == line
        assert checked.type == fields.type
        assert checked.has_id == (fields.event_id is not None)
        assert checked.suppresses == suppresses(fields.type, fields.bounce_class)


def _fits(members: dict[str, object]) -> bool:
    try:
        orjson.dumps(members)
    except (TypeError, orjson.JSONEncodeError):
        return False
    return True
