"""suppression_members: what a body may say. Its words over HTTP are in `test_suppressions.py`."""

import json

import pytest

from omni_etl.api.problems import Problem
from omni_etl.api.suppression_members import (
    DESCRIPTION_CHARACTERS_MAX,
    MALFORMED_SHOWN_MAX,
    list_id_of,
    many_wishes,
    moment,
    types_of,
)
from omni_etl.suppression_list import Wish


@pytest.mark.parametrize("text", ["a", "news.example.com", "A-b_1.2", "a" * 255])
def test_a_list(text: str) -> None:
    """As RFC 2919 writes them, or freer."""
    assert list_id_of(text) == text


@pytest.mark.parametrize("said", ["", ".", ".a", "a.", "a..b", "a b", "é", "a\n", "a" * 256, 7, None, ["a"]])
def test_what_is_no_list(said: object) -> None:
    """400."""
    with pytest.raises(Problem):
        list_id_of(said)


def test_type_and_booleans_add_up() -> None:
    """What was read can be put again, with both in it."""
    assert types_of({"type": "transactional", "transactional": True}) == ["transactional"]
    assert types_of({"type": "transactional", "non_transactional": True}) == ["transactional", "non_transactional"]
    assert types_of({"type": None, "transactional": None, "non_transactional": True}) == ["non_transactional"]
    assert types_of({}) == []


def test_the_first_of_a_double_speaks_for_its_address() -> None:
    """However it is spelled, and with all its types."""
    body = [
        {"recipient": "a@bücher.example", "transactional": True, "non_transactional": True},
        {"recipient": "A@XN--bcher-kva.example", "type": "transactional", "list_id": "news"},
    ]
    key = "a@xn--bcher-kva.example"
    assert many_wishes(json.dumps({"recipients": body}).encode(), 7) == [
        Wish(7, key, "transactional"),
        Wish(7, key, "non_transactional"),
    ]


def test_an_answer_stays_short() -> None:
    """Ten thousand bad recipients are counted, some are shown, and none of them whole."""
    body = {"recipients": [{"recipient": "x" * 1_000}] * 10_000}
    with pytest.raises(Problem) as refused:
        many_wishes(json.dumps(body).encode(), 0)
    message = refused.value.errors[0]["message"]
    assert message.startswith("PUT body contains 10000 invalid or malformed recipient(s): xxx")
    assert message.endswith(", …")
    assert len(message) < 110 * MALFORMED_SHOWN_MAX


def test_a_description_has_an_end() -> None:
    """400 above it."""
    said = {"recipient": "a@x.example", "type": "transactional", "description": "é" * DESCRIPTION_CHARACTERS_MAX}
    assert len(many_wishes(json.dumps({"recipients": [said]}).encode(), 0)) == 1
    said["description"] += "é"
    with pytest.raises(Problem, match="description must be at most"):
        many_wishes(json.dumps({"recipients": [said]}).encode(), 0)


def test_a_time_is_whole_seconds() -> None:
    """As SparkPost writes them."""
    assert moment(1_485_910_861_999) == "2017-02-01T01:01:01+00:00"


def test_a_recipient_too_deep_to_be_shown_is_refused_all_the_same() -> None:
    """The parser reads deeper than the writer writes."""
    deep = b"[" * 500 + b"]" * 500
    with pytest.raises(Problem) as refused:
        many_wishes(b'{"recipients":[{"recipient":%b}]}' % deep, 0)
    assert "1 invalid or malformed recipient(s): …" in refused.value.errors[0]["message"]
