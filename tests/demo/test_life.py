"""The demo's events: repeatable, valid, lifelike."""

import random
from collections import Counter

import orjson
import pytest

from omni_etl import event
from omni_etl.demo.life import events, lives
from omni_etl.suppression_list import address_key

NOW = 1_764_000_000.0
STORY_SECONDS = 20 * 60


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    """Enough events for proportions to show."""
    return list(events(30_000, seed=7, now=NOW))


@pytest.fixture(scope="module")
def parsed(lines: list[bytes]) -> list[dict[str, object]]:
    """The same, read in full."""
    return [orjson.loads(line) for line in lines]


def test_the_same_seed_makes_the_same_bytes() -> None:
    """A demo can be repeated, and a red one looked into."""
    assert list(events(5_000, seed=3, now=NOW)) == list(events(5_000, seed=3, now=NOW))
    assert list(events(100, seed=3, now=NOW)) != list(events(100, seed=4, now=NOW))


def test_the_count_is_exact() -> None:
    """As many as asked for, also none, also less than one block."""
    assert [len(list(events(count, seed=1, now=NOW))) for count in (0, 1, 2_999)] == [0, 1, 2_999]


def test_every_line_is_canonical_and_may_enter(lines: list[bytes]) -> None:
    """The hose takes each line and keeps it byte for byte."""
    for line in lines:
        checked = event.check(line)
        assert checked is not None
        assert checked.line == line


def test_all_types_appear_in_any_20_000_events(lines: list[bytes]) -> None:
    """Wherever the demo is cut, it shows all 27 types."""
    types = [orjson.loads(line)["type"] for line in lines]
    for start in range(0, len(types) - 20_000 + 1, 1_000):
        assert set(types[start : start + 20_000]) == event.TYPES


def test_an_event_id_stands_once(parsed: list[dict[str, object]]) -> None:
    """Ids are unique; only `sms_status` has none, as SparkPost documents it."""
    nameless = {fields["type"] for fields in parsed if "event_id" not in fields}
    named = [fields["event_id"] for fields in parsed if "event_id" in fields]
    assert nameless == {"sms_status"}
    assert len(set(named)) == len(named)


def test_times_lie_in_the_last_minutes(parsed: list[dict[str, object]]) -> None:
    """Nothing is told that has not happened yet, and nothing old."""
    times = [int(str(fields["timestamp"])) for fields in parsed]
    assert min(times) >= NOW - STORY_SECONDS - 1
    assert max(times) <= NOW


def test_a_block_tells_whole_lives_in_order_of_time() -> None:
    """Each message that came out of a template begins with its injection, and ends delivered or bounced."""
    stories: dict[str, list[str]] = {}
    block = [orjson.loads(line) for line in next(lives(seed=5, now=NOW))]
    for fields in block:
        if "message_id" in fields and not fields["type"].startswith("relay_"):
            stories.setdefault(fields["message_id"], []).append(fields["type"])
    assert [fields["timestamp"] for fields in block] == sorted(fields["timestamp"] for fields in block)
    assert len(stories) > 900
    for story in stories.values():
        assert story == ["policy_rejection"] or (
            story.count("injection"),
            story.count("delivery") + story.count("bounce"),
        ) == (1, 1)
    assert any(story.count("delay") > 1 and "delivery" in story for story in stories.values())


def test_sizes_are_lifelike(lines: list[bytes]) -> None:
    """Figures measured on these events are those of real ones: about 1.2 KB each."""
    assert 1_100 < sum(map(len, lines)) / len(lines) < 1_250
    assert max(map(len, lines)) < 3_000


def test_domains_and_subaccounts_are_skewed(parsed: list[dict[str, object]]) -> None:
    """One domain has the most, a long tail has little; some mail is the primary account's own."""
    domains = Counter(fields["recipient_domain"] for fields in parsed if "recipient_domain" in fields)
    [(first, share)] = domains.most_common(1)
    assert first == "gmail.com"
    assert 0.35 < share / domains.total() < 0.5
    assert len(domains) > 50
    subaccounts = Counter(fields.get("subaccount_id") for fields in parsed)
    assert subaccounts[None] > 500
    assert len(subaccounts) > 20
    assert len({fields.get("campaign_id") for fields in parsed}) > 10


def test_odd_text_is_there(parsed: list[dict[str, object]]) -> None:
    """Emoji, right to left, combining marks, U+2028 and NUL travel in subjects, CRLF in replies, other scripts in addresses."""
    subjects = "".join({str(fields.get("subject", "")) for fields in parsed})
    for odd in ("\U0001f389", "\u202b", "\u0301", "\u2028", "\x00", '"', "\\"):
        assert odd in subjects
    assert any("\r\n" in str(fields.get("raw_reason")) for fields in parsed)
    assert any(not str(fields.get("rcpt_to", "")).isascii() for fields in parsed)


def test_recipients_are_spelled_as_the_list_spells_them(parsed: list[dict[str, object]]) -> None:
    """`rcpt_to` is in lower case, `raw_rcpt_to` as it was given; both are one address there."""
    for fields in parsed:
        if "rcpt_to" in fields:
            given, raw = str(fields["rcpt_to"]), str(fields["raw_rcpt_to"])
            assert given == raw.lower()
            assert address_key(given) == address_key(raw)
    assert any(fields.get("rcpt_to") != fields.get("raw_rcpt_to") for fields in parsed)


def test_the_global_generator_is_left_alone() -> None:
    """Whoever uses `random` beside the demo is not disturbed."""
    random.seed(1)
    before = random.getstate()
    list(events(10, seed=1, now=NOW))
    assert random.getstate() == before
