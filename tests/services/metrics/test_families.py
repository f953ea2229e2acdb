"""services.metrics.families: an envelope counted for every question, in one block."""

from typing import Any

import pytest
from tests import builders

from omni_etl.services.metrics.families import FAMILIES, REASON_CHARACTERS_MAX, VALUE_MAX, columns


def rows(*lines: bytes) -> list[dict[str, Any]]:
    """Roll-up rows without the marker."""
    return [each for each in columns(builders.envelope(lines)).to_pylist() if each["family"] is not None]


def delivery(**fields: str) -> dict[str, Any]:
    """The row of one delivery in the family `domain`."""
    [found] = [each for each in rows(builders.line("delivery", **fields)) if each["family"] == "domain"]
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1200", 1200),
        ("0", 0),
        ("007", 7),
        ("9" * 12, 999_999_999_999),
        ("9" * 13, VALUE_MAX),
        ("9" * 4000, VALUE_MAX),
        *((text, None) for text in ("", "-5", "1.5", "1e3", "x", " 7", "٣", "0x10")),
    ],
)
def test_a_number_in_text_is_added_up_within_limits(text: str, expected: int | None) -> None:
    """No text fails the envelope, and no sum can wrap."""
    found = delivery(queue_time=text, msg_size=text)
    assert (found["delivery_ms"], found["message_bytes"]) == (expected, expected)


def test_equal_events_become_one_row_a_family() -> None:
    """That is what a roll-up is for."""
    lines = [builders.line("delivery", campaign_id="c", queue_time="5", event_id=str(each)) for each in range(9)]
    found = rows(*lines)
    assert [(each["family"], each["events"]) for each in found] == [
        (name, 9) for name in ("type", "domain", "campaign", "sender")
    ]
    assert {each["delivery_ms"] for each in found} == {None, 45}


def test_minutes_are_apart() -> None:
    """The smallest unit that anybody may ask for."""
    lines = [builders.line("injection", timestamp=str(each)) for each in (119, 120, 179, 180)]
    minutes = sorted((each["minute"], each["events"]) for each in rows(*lines) if each["family"] == "type")
    assert minutes == [(60, 1), (120, 2), (180, 1)]


def test_a_row_fills_the_dimensions_of_its_family_alone() -> None:
    """Else every family would be as fine as their cross product."""
    everything = {name: "x" for names in FAMILIES.values() for name in names}
    everything |= {"recipient_domain": "x", "target_link_name": "x"}
    for type_name in ("bounce", "click"):
        for row in rows(builders.line(type_name, **everything)):
            filled = {name for names in FAMILIES.values() for name in names if row[name] is not None}
            assert filled == set(FAMILIES.get(row["family"], ()))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"message_id": "m", "transmission_id": "t", "rcpt_to": "r"}, "m"),
        ({"message_id": "", "transmission_id": "t", "rcpt_to": "r"}, "t/r"),
        ({"transmission_id": "t", "rcpt_to": "r"}, "t/r"),
        ({"rcpt_to": "r"}, "/r"),
    ],
)
def test_a_message_is_told_by_its_id_or_its_recipient(fields: dict[str, str], expected: str) -> None:
    """What uniques count."""
    assert {
        tuple(each["message_ids"]) for each in rows(builders.line("open", **fields)) if each["family"] != "type"
    } == {(expected,)}


def test_a_reason_is_kept_to_a_length() -> None:
    """A roll-up keys by it; the whole text is in message_events."""
    [found] = [each for each in rows(builders.line("bounce", reason="ü" * 5000)) if each["family"] == "reason"]
    assert found["reason"] == "ü" * REASON_CHARACTERS_MAX


def test_a_link_without_a_name_counts_by_its_url() -> None:
    """As the API shows it."""
    links = [
        builders.line("click", target_link_url="https://a.example/", target_link_name=name) for name in ("", "buy")
    ]
    found = rows(*links, builders.line("click", target_link_url="https://b.example/"))
    assert sorted(each["link_name"] for each in found if each["family"] == "link") == [
        "buy",
        "https://a.example/",
        "https://b.example/",
    ]


def test_the_marker_is_the_last_row_and_one_insert() -> None:
    """`inserts` above 1 would say, even after a merge, that an envelope stands twice."""
    found = columns(builders.envelope([builders.line("open")])).to_pylist()
    assert [each["inserts"] for each in found] == [None] * (len(found) - 1) + [1]
    assert found[-1]["marker_key"]
    assert found[-1]["family"] is None
