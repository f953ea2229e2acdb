"""event.check: the one judge of what may enter."""

import json
import time

import orjson
import pytest

from omni_etl.event import Refused, check, with_event_id


def test_a_flat_event_passes_unchanged() -> None:
    """A canonical line is kept byte for byte."""
    line = orjson.dumps({"type": "delivery", "timestamp": "1460989507", "event_id": "1", "odd": [1, {"a": 1.5}]})
    assert (checked := check(line)) is not None
    assert checked.line == line
    assert (checked.type, checked.has_id, checked.suppresses) == ("delivery", True, False)


def test_a_wrapped_event_is_unwrapped_and_numbers_become_strings() -> None:
    """SparkPost's own batch elements enter; old samples with bare numbers get string scalars."""
    line = b'{"msys": {"message_event": {"type": "bounce", "bounce_class": 10, "timestamp": 1460989507}}, "cust": {}}'
    assert (checked := check(line)) is not None
    assert orjson.loads(checked.line) == {"type": "bounce", "bounce_class": "10", "timestamp": "1460989507"}
    assert checked.suppresses
    assert not checked.has_id


def test_the_probe_holds_no_event() -> None:
    """SparkPost's validation element is answered, and nothing is kept."""
    assert check(b'{"msys":{}}') is None


def test_iso_time_becomes_epoch_seconds() -> None:
    """The Events API's spelling of time is taken too."""
    assert (checked := check(b'{"type":"open","timestamp":"2016-04-18T14:25:07.999Z"}')) is not None
    assert orjson.loads(checked.line)["timestamp"] == "1460989507"


def test_an_event_id_is_added_at_the_end() -> None:
    """The derived id joins the canonical line without parsing it again."""
    assert with_event_id(b'{"type":"open"}', "ab12") == b'{"type":"open","event_id":"ab12"}'


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not valid JSON"),
        (b"[1]", "an event is a JSON object, found an array"),
        (b'{"type":"open"}', "missing field timestamp"),
        (b'{"type":"opened","timestamp":"1"}', "unknown event type 'opened'"),
        (b'{"type":"open","timestamp":"1","type":"click"}', "the key 'type' stands twice"),
        (b'{"type":"open","timestamp":"1","n":1e999}', "not valid JSON"),
        (b'{"type":"open","timestamp":"1","n":123456789012345678901234567890}', "does not fit 64 bits"),
        (b'{"type":"open","timestamp":"1","n":"\\ud800"}', "not valid JSON"),
        (b'{"type":"open","timestamp":"1","n":"\xff"}', "not valid JSON"),
        (b'{"type":"open","timestamp":"9999999999"}', "timestamp must be epoch seconds before 2100"),
        (b'{"type":"open","timestamp":"soon"}', "timestamp must be epoch seconds or ISO 8601, found 'soon'"),
        (b'{"type":"open","timestamp":"1","rcpt_to":{}}', "rcpt_to: expected str | null, got object"),
        (b'{"type":"open","timestamp":"1","subaccount_id":"x"}', "subaccount_id must be a whole number"),
        (b'{"type":"open","timestamp":"1","event_id":""}', "event_id is empty"),
        (b'{"type":"open","timestamp":"1","n":' + b"[" * 40 + b"]" * 40 + b"}", "nested deeper than 32"),
        (b'{"type":"open","timestamp":"1","n":"' + b"x" * 140_000 + b'"}', "longer than 131072 bytes"),
        (b'{"msys":{"message_event":{},"track_event":{}}}', "msys must hold one group, found 2"),
        (b'{"msys":{"relay_message":{}}}', "unknown event group 'relay_message'"),
    ],
)
def test_what_may_not_enter_is_refused_with_a_reason(line: bytes, reason: str) -> None:
    """Each way of being wrong has words for the producer."""
    with pytest.raises(Refused, match=reason.replace("|", r"\|")):
        check(line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"type": "open", "timestamp": "1", "type": "click"}', "stands twice"),
        (b'{"type": "open", "timestamp": "1", "x": {"a": 1, "a": 1}}', "stands twice"),
        (b'{"type": "open", "timestamp": "1", "n": 123456789012345678901234567890}', "does not fit 64 bits"),
        (b'{"type": "open", "timestamp": "1", "n": -9223372036854775809}', "does not fit 64 bits"),
    ],
)
def test_the_spelling_of_pythons_json_hides_nothing(line: bytes, reason: str) -> None:
    """White space is mended, nothing else is."""
    with pytest.raises(Refused, match=reason):
        check(line)


@pytest.mark.parametrize("timestamp", [b'"1764000000"', b"1764000000", b'"1764000000.9"', b'"2025-11-24T16:00:00Z"'])
def test_an_event_that_lies_too_long_back_is_refused(timestamp: bytes) -> None:
    """However its time is written; that very second is young enough, and without a limit any is."""
    line = b'{"type":"open","timestamp":%b}' % timestamp
    assert check(line) is not None
    assert check(line, since=1_764_000_000) is not None
    with pytest.raises(
        Refused, match="timestamp 1764000000 is before 1764000001, the oldest taken now; imports say old=true"
    ):
        check(line, since=1_764_000_001)


@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_what_pythons_json_writes_passes(ensure_ascii: bool) -> None:  # noqa: FBT001 a pytest parameter
    """With its spaces and its escapes, as most producers in Python send it."""
    event = {
        "type": "open",
        "timestamp": "1",
        "event_id": "1",
        "x": ["é", "\u2028", 1e16, -0.0, 2**64 - 1, None, {"a": True}],
    }
    assert (checked := check(json.dumps(event, ensure_ascii=ensure_ascii).encode())) is not None
    assert checked.line == orjson.dumps(event)


def test_a_doubled_key_costs_no_more_than_others() -> None:
    """Thousands of keys, the last one doubled: looked for in one pass, else one line would hold the hose up for a second."""
    keys = b",".join(b'"%x":0' % number for number in range(0x1000, 0x1000 + 12_000))

    def cpu_seconds(line: bytes) -> float:
        started = time.process_time()
        with pytest.raises(Refused):
            check(line)
        return time.process_time() - started

    plain = min(cpu_seconds(b"{%b}" % keys) for _ in range(3))
    doubled = min(cpu_seconds(b'{%b,"x":1,"x":2}' % keys) for _ in range(3))
    assert doubled < 20 * plain + 0.02
