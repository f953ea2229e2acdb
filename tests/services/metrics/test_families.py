"""services.metrics.families: an envelope counted for every question, in one block."""

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import builders

from omni_etl.event import TYPES, HotFields
from omni_etl.services.metrics.counted import REASON_CHARACTERS_MAX, VALUE_MAX
from omni_etl.services.metrics.families import DIMENSIONS, FAMILIES, columns, grouped
from omni_etl.services.metrics.measures import FIELDS, CountedFields, EngagementFields, FailureFields, measures


def rows(*lines: bytes) -> list[dict[str, Any]]:
    """Roll-up rows without the marker."""
    return [each for each in columns(builders.envelope(lines)).to_pylist() if each["family"]]


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
        *((text, 0) for text in ("", "-5", "1.5", "1e3", "x", " 7", "٣", "0x10")),
    ],
)
def test_a_number_in_text_is_added_up_within_limits(text: str, expected: int) -> None:
    """No text fails the envelope, and no sum can wrap."""
    found = delivery(queue_time=text, msg_size=text)
    assert (found["delivery_ms"], found["message_bytes"]) == (expected, expected)


def test_equal_events_become_one_row_a_family() -> None:
    """That is what a roll-up is for."""
    lines = [builders.line("delivery", campaign_id="c", queue_time="5", event_id=str(each)) for each in range(9)]
    found = rows(*lines)
    assert [(each["family"], each["events"]) for each in found] == [
        (name, 9) for name in ("type", "hour", "domain", "campaign", "sender")
    ]
    assert {each["delivery_ms"] for each in found} == {0, 45}


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
            filled = {name for names in FAMILIES.values() for name in names if row[name]}
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
    assert [each["inserts"] for each in found] == [0] * (len(found) - 1) + [1]
    assert found[-1]["marker_key"]
    assert found[-1]["family"] == ""


TEXTS = st.sampled_from(["", "a", "A", "ü", "\0", "null", "type", "injected", " ", "7", "9" * 20])
ADDRESSES = st.sampled_from(["", "x", "a@B.Example", "<a@b.example>", "a@b.example", "a@ü.example", "a@b c"])
ODD: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(
        ("recipient_domain", "mailbox_provider", "mailbox_provider_region", "campaign_id", "template_id",
         "sending_domain", "ip_pool", "sending_ip", "reason", "bounce_class", "target_link_name", "target_link_url",
         "message_id", "transmission_id", "num_retries", "queue_time", "msg_size"),
        TEXTS | st.none(),
    ),
    **dict.fromkeys(("rcpt_to", "friendly_from"), ADDRESSES | st.none()),
    "subaccount_id": st.sampled_from(["", "0", "7", "007", "2147483647", None]),
    "timestamp": st.sampled_from(["0", "59", "60", "1764000000", "4102444800"]),
    "user_agent_parsed": st.sampled_from([None, {}, {"is_prefetched": True, "os": "x"}, {"is_prefetched": False}]),
    "unheard_of": st.sampled_from([1, [], {"measure": "x"}, None]),
}  # fmt: skip
ODD_LINES = st.builds(
    lambda type_name, members, given: builders.line(type_name, **{name: members[name] for name in given}),
    st.sampled_from(sorted(TYPES)),
    st.fixed_dictionaries(ODD),
    st.sets(st.sampled_from(sorted(ODD))),
)


def by_hand(lines: Sequence[bytes]) -> dict[tuple[Any, ...], list[Any]]:
    """Family, minute, subaccount, measure and dimensions: events, sums and message ids, counted one by one."""
    found: dict[tuple[Any, ...], list[Any]] = defaultdict(lambda: [0, 0, 0, []])
    for line in lines:
        told = orjson.loads(line)
        fields = FIELDS.get(told["type"], CountedFields)
        [measure] = measures(told["type"], [_decode(line, fields)])
        at, subaccount_id = int(told["timestamp"]), int(told.get("subaccount_id") or 0)
        where = (at // 60 * 60, subaccount_id)
        found["type", *where, told["type"], *[""] * len(DIMENSIONS)][0] += 1
        asked = [] if measure is None else ["hour", "domain", "campaign", "sender"]
        asked += ["reason"] * (fields is FailureFields) + ["link"] * (told["type"] == "click")
        dimensions = _dimensions(told)
        for family in asked:
            where = (at // 3600 * 3600 if family == "hour" else at // 60 * 60, subaccount_id)
            row = found[family, *where, measure, *(dimensions[n] if n in FAMILIES[family] else "" for n in DIMENSIONS)]
            row[0] += 1
            if told["type"] == "delivery":
                row[1] += _number(told.get("queue_time"))
                row[2] += _number(told.get("msg_size"))
            if fields is EngagementFields:
                recipient = f"{told.get('transmission_id') or ''}/{told.get('rcpt_to') or ''}"
                row[3].append(told.get("message_id") or recipient)
    return {key: [*sums, sorted(ids)] for key, (*sums, ids) in found.items()}


def _decode(line: bytes, fields: type[CountedFields]) -> CountedFields:
    return msgspec.json.decode(line, type=fields)


def _dimensions(told: dict[str, Any]) -> dict[str, str]:
    found = {name: told.get(name) or "" for name in DIMENSIONS}
    found["reason"] = found["reason"][:REASON_CHARACTERS_MAX]
    found["link_name"] = told.get("target_link_name") or told.get("target_link_url") or ""
    for name, field, address in (
        ("domain", "recipient_domain", "rcpt_to"),
        ("sending_domain", "sending_domain", "friendly_from"),
    ):
        given, (_, at, end) = told.get(field), (told.get(address) or "").rpartition("@")
        of_address = end.removesuffix(">").lower() if at and " " not in end else ""
        found[name] = of_address if given is None else given
    return found


def _number(text: str | None) -> int:
    return min(int(text), VALUE_MAX) if text and text.isdigit() else 0


def rolled_up(lines: Sequence[bytes]) -> dict[tuple[Any, ...], list[Any]]:
    """The same of `columns`; no two rows have one key."""
    found = rows(*lines)
    counted = {
        tuple(each[name] for name in ("family", "minute", "subaccount_id", "measure", *DIMENSIONS)): [
            each["events"], each["delivery_ms"], each["message_bytes"], sorted(each["message_ids"])
        ]
        for each in found
    }  # fmt: skip
    assert len(counted) == len(found)
    return counted


def test_each_row_has_the_messages_of_its_own_events() -> None:
    """Whatever their order."""
    lines = [
        builders.line("open", message_id=f"m{each}", campaign_id=f"c{each % 3}", ip_pool=f"p{each % 2}")
        for each in range(30)
    ]
    assert rolled_up(lines) == by_hand(lines)


@pytest.mark.parametrize("bound", [2**20, 2**32, 2**60])
def test_groups_are_told_apart_whatever_the_bounds(bound: int) -> None:
    """Also where the keys of one place do not fit one number together."""
    keys = [(first, second, third) for first in (0, 1, bound - 1) for second in (0, bound - 1) for third in (0, 5)] * 2
    groups, count = grouped(*((np.array(each, np.int64), bound) for each in zip(*keys, strict=True)))
    assert count == len(set(keys))
    assert groups.tolist() == [keys.index(each) for each in keys]


@settings(max_examples=60)
@given(lines=st.lists(ODD_LINES, max_size=40))
def test_roll_ups_are_the_events_counted_one_by_one(lines: list[bytes]) -> None:
    """Whatever an event leaves out, writes oddly or adds."""
    assert rolled_up(lines) == by_hand(lines)


def test_roll_ups_are_exact_where_no_two_events_share_a_text() -> None:
    """As many rows as events, and thousands of codes."""
    rng = random.Random(1)
    names = [name for name in HotFields.__struct_fields__ if name not in ("type", "subaccount_id", "user_agent_parsed")]
    numbers = ("timestamp", "queue_time", "msg_size", "num_retries")
    lines = [
        builders.line(
            rng.choice(["delivery", "bounce", "click"]),
            **{name: str(rng.randrange(10**9)) if name in numbers else f"{name} {rng.random()}" for name in names},
        )
        for _ in range(1500)
    ]
    assert rolled_up(lines) == by_hand(lines)
