"""services.metrics: the metrics of the API, as the reference defines them, against a count by hand of the same events."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import orjson
import pytest
from tests import builders

from omni_etl import sql
from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.backends.memory_store import MemoryStore
from omni_etl.bounce import CATEGORIES, CLASSES, category
from omni_etl.clock import SystemClock
from omni_etl.event import TYPES
from omni_etl.service import Deadline
from omni_etl.services.metrics import Metrics

CLOCK = SystemClock()
OPEN_DEADLINE = Deadline(CLOCK, CLOCK.monotonic() + 86_400)
Event = dict[str, Any]
Counts = dict[str, int]

# Each grouping of the API: the family that answers it, and where an event has the key.
GROUPINGS: dict[str, tuple[str, Callable[[Event], object]]] = {
    "domain": ("domain", lambda each: each["recipient_domain"]),
    "mailbox_provider": ("domain", lambda each: each.get("mailbox_provider", "")),
    "mailbox_provider_region": ("domain", lambda each: each.get("mailbox_provider_region", "")),
    "campaign_id": ("campaign", lambda each: each.get("campaign_id", "")),
    "template_id": ("campaign", lambda each: each.get("template_id", "")),
    "sending_domain": ("sender", lambda each: each["friendly_from"].partition("@")[2]),
    "ip_pool": ("sender", lambda each: each.get("ip_pool", "")),
    "sending_ip": ("sender", lambda each: each.get("sending_ip", "")),
    "subaccount_id": ("campaign", lambda each: int(each.get("subaccount_id", 0))),
    "toUnixTimestamp(minute)": ("domain", lambda each: int(each["timestamp"]) // 60 * 60),
    "1": ("sender", lambda _: 1),
}

BOUNCED = [name for name in CATEGORIES if name != "admin"]
DELIVERED = {"first": ["first"], "subsequent": ["second", "third_or_later"]}
ENGAGED = {"open": "rendered", "initial_open": "initial_rendered", "click": "clicked"}
SIMPLE = {
    "injection": "count_injected",
    "policy_rejection": "count_policy_rejection",
    "generation_rejection": "count_generation_rejection",
    "generation_failure": "count_generation_failed",
    "spam_complaint": "count_spam_complaint",
    "list_unsubscribe": "count_unsubscribe",
    "link_unsubscribe": "count_unsubscribe",
}


def make_events(rng: random.Random, count: int) -> list[bytes]:
    """A mix that shares keys often enough for sums, and messages often enough for uniques."""
    lines = []
    for _ in range(count):
        fields: dict[str, Any] = {
            "timestamp": str(1_764_000_000 + rng.randrange(150)),
            "subaccount_id": rng.choice(["1", "2", None]),
            "recipient_domain": rng.choice(["gmail.com", "yahoo.com", "ü.example"]),
            "mailbox_provider": rng.choice(["Gmail", "Yahoo", None]),
            "mailbox_provider_region": rng.choice(["Global", None]),
            "campaign_id": rng.choice(["spring", "winter", None]),
            "template_id": rng.choice(["t1", "t2", None]),
            "friendly_from": rng.choice(["a@one.example", "b@two.example"]),
            "ip_pool": rng.choice(["p1", "p2"]),
            "sending_ip": rng.choice(["10.0.0.1", "10.0.0.2"]),
            "message_id": f"m{rng.randrange(40)}",
            "num_retries": rng.choice(["0", "1", "2", "9", None]),
            "queue_time": str(rng.randrange(10_000)),
            "msg_size": str(rng.randrange(100_000)),
            "bounce_class": rng.choice([*CLASSES, "777", None]),
            "reason": rng.choice(["550 no", "421 later"]),
            "target_link_name": rng.choice(["buy", "read"]),
            "user_agent_parsed": rng.choice([None, {"is_prefetched": True}, {"is_prefetched": False}]),
        }
        given = {name: value for name, value in fields.items() if value is not None}
        lines.append(builders.line(rng.choice(sorted(TYPES)), **given))
    return lines


def by_hand(events: Iterable[Event]) -> Counts:
    """The reference's formulas (§4.4), event by event."""
    found: Counts = defaultdict(int)
    seen: dict[str, set[str]] = defaultdict(set)
    for each in events:
        name = each["type"]
        if name in SIMPLE:
            found[SIMPLE[name]] += 1
        elif name == "delivery":
            _add_delivery(found, each)
        elif name == "delay":
            found["count_delayed"] += 1
            found["count_delayed_first"] += not int(each.get("num_retries", "0"))
        elif name in ("bounce", "out_of_band"):
            _add_bounce(found, each)
        elif name in ENGAGED:
            _add_engagement(found, seen, each)
    return {**{name: value for name, value in found.items() if value}, **{name: len(ids) for name, ids in seen.items()}}


def _add_delivery(found: Counts, event: Event) -> None:
    retries = int(event.get("num_retries", "0"))
    which = "subsequent" if retries else "first"
    found["count_delivered"] += 1
    found[f"count_delivered_{which}"] += 1
    found[f"total_delivery_time_{which}"] += int(event["queue_time"])
    found["total_msg_volume"] += int(event["msg_size"])
    found[f"attempt {min(retries, 2)}"] += 1


def _add_bounce(found: Counts, event: Event) -> None:
    kind = category(event.get("bounce_class"))
    found[f"count_{kind}_bounce"] += 1
    if kind != "admin":
        found["count_bounce"] += 1
        found["count_inband_bounce" if event["type"] == "bounce" else "count_outofband_bounce"] += 1


def _add_engagement(found: Counts, seen: dict[str, set[str]], event: Event) -> None:
    prefetched = (event.get("user_agent_parsed") or {}).get("is_prefetched") is True
    measure = ENGAGED[event["type"]]
    for prefix in ("",) if prefetched else ("", "nonprefetched_"):
        found[f"count_{prefix}{measure}"] += 1
        seen[f"count_{prefix}unique_{measure}"].add(event["message_id"])
        seen[f"count_{prefix}unique_confirmed_opened"].add(event["message_id"])


def formulas() -> dict[str, str]:
    """The same metrics as sums over measures: the table in services/metrics/measures.py."""

    def total(column: str, *measures: str) -> str:
        return f"sumIf({column}, measure IN ({', '.join(map(repr, measures))}))"

    made = {
        "count_injected": total("events", "injected"),
        "count_policy_rejection": total("events", "policy_rejection"),
        "count_generation_rejection": total("events", "generation_rejection"),
        "count_generation_failed": total("events", "generation_failed"),
        "count_delivered": total("events", "delivered_first", "delivered_second", "delivered_third_or_later"),
        "total_msg_volume": total("message_bytes", "delivered_first", "delivered_second", "delivered_third_or_later"),
        "count_delayed": total("events", "delayed_first", "delayed_again"),
        "count_delayed_first": total("events", "delayed_first"),
        "count_inband_bounce": total("events", *(f"bounce_{each}" for each in BOUNCED)),
        "count_outofband_bounce": total("events", *(f"out_of_band_{each}" for each in BOUNCED)),
        "count_bounce": total("events", *(f"{kind}_{each}" for kind in ("bounce", "out_of_band") for each in BOUNCED)),
        "count_spam_complaint": total("events", "spam_complaint"),
        "count_unsubscribe": total("events", "unsubscribe"),
    }
    for number, attempt in enumerate(["first", "second", "third_or_later"]):
        made[f"attempt {number}"] = total("events", f"delivered_{attempt}")
    for which, attempts in DELIVERED.items():
        made[f"count_delivered_{which}"] = total("events", *(f"delivered_{each}" for each in attempts))
        made[f"total_delivery_time_{which}"] = total("delivery_ms", *(f"delivered_{each}" for each in attempts))
    for kind in CATEGORIES:
        made[f"count_{kind}_bounce"] = total("events", f"bounce_{kind}", f"out_of_band_{kind}")
    for prefix, suffixes in (("", ("", "_prefetched")), ("nonprefetched_", ("",))):
        for each in ENGAGED.values():
            measures = [f"{each}{suffix}" for suffix in suffixes]
            made[f"count_{prefix}{each}"] = total("events", *measures)
            made[f"count_{prefix}unique_{each}"] = _distinct(measures)
        made[f"count_{prefix}unique_confirmed_opened"] = _distinct(
            [f"{each}{end}" for each in ENGAGED.values() for end in suffixes]
        )
    return made


def _distinct(measures: list[str]) -> str:
    return f"uniqCombined64MergeIf(messages, measure IN ({', '.join(map(repr, measures))}))"


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_metric_of_every_grouping_is_exact(clickhouse: ClickHouseStore, seed: int) -> None:
    """Over several envelopes, before and after a merge; each family counts the same whole."""
    rng = random.Random(seed)
    service = Metrics(clickhouse)
    events: list[Event] = []
    for seq in range(4):
        lines = make_events(rng, 400)
        events += map(orjson.loads, lines)
        await service.apply(builders.envelope(lines, seq=seq), OPEN_DEADLINE)
    for merged in (False, True):
        if merged:
            await clickhouse._client.command("OPTIMIZE TABLE metrics FINAL")
        for key, (family, key_of) in GROUPINGS.items():
            assert await _grouped(clickhouse, key, family) == _grouped_by_hand(events, key_of), key


async def _grouped(store: ClickHouseStore, key: str, family: str) -> dict[object, Counts]:
    made = formulas()
    rows = await store.query(
        f"SELECT {key}, {', '.join(made.values())} FROM metrics"
        f" WHERE marker_key = '' AND family = {{family:String}} GROUP BY {key}",
        {"family": family},
    )
    return {row[0]: {name: value for name, value in zip(made, row[1:], strict=True) if value} for row in rows}


def _grouped_by_hand(events: list[Event], key_of: Callable[[Event], object]) -> dict[object, Counts]:
    groups: dict[object, list[Event]] = defaultdict(list)
    for each in events:
        groups[key_of(each)].append(each)
    counted = {key: by_hand(each) for key, each in groups.items()}
    return {key: each for key, each in counted.items() if each}


@pytest.mark.parametrize("seed", [3])
async def test_reasons_and_links_are_exact(clickhouse: ClickHouseStore, seed: int) -> None:
    """The reports by bounce class, reason, rejection, delay and link name."""
    lines = make_events(random.Random(seed), 600)
    events = [orjson.loads(line) for line in lines]
    await Metrics(clickhouse).apply(builders.envelope(lines), OPEN_DEADLINE)
    explained = {"bounce", "out_of_band", "delay", "policy_rejection", "generation_failure", "generation_rejection"}
    expected: dict[tuple[str, str, str], int] = defaultdict(int)
    for each in events:
        if each["type"] in explained:
            expected[each["recipient_domain"], each.get("bounce_class", ""), each["reason"]] += 1
    rows = await clickhouse.query(
        "SELECT domain, bounce_class, reason, sum(events) FROM metrics WHERE family = 'reason' GROUP BY ALL"
    )
    assert {(domain, code, reason): count for domain, code, reason, count in rows} == expected

    clicks = [each for each in events if each["type"] == "click"]
    links = await clickhouse.query(
        "SELECT link_name, sum(events), uniqCombined64Merge(messages) FROM metrics WHERE family = 'link' GROUP BY 1"
    )
    assert {name: (count, unique) for name, count, unique in links} == {
        name: (len(found), len({each["message_id"] for each in found}))
        for name in ("buy", "read")
        if (found := [each for each in clicks if each["target_link_name"] == name])
    }


async def test_uniques_are_counted_per_roll_up_unit(clickhouse: ClickHouseStore) -> None:
    """The reference's example: opens at 1:08, 1:13 and 2:37 are 3 uniques by minute, 2 by hour, 1 by day."""
    day = 1_764_028_800
    opens = [builders.line("open", timestamp=str(day + 60 * minute), message_id="m") for minute in (68, 73, 157)]
    await Metrics(clickhouse).apply(builders.envelope(opens), OPEN_DEADLINE)
    for unit, expected in (("MINUTE", 3), ("HOUR", 2), ("DAY", 1)):
        rows = await clickhouse.query(
            f"SELECT sum(found) FROM (SELECT uniqCombined64Merge(messages) AS found FROM metrics"
            f" WHERE family = 'domain' GROUP BY toStartOfInterval(minute, INTERVAL 1 {unit}))"
        )
        assert rows[0][0] == expected, unit


async def test_every_event_counts_once_by_its_type() -> None:
    """The sum over types is the number of events accepted: what the audit compares."""
    store = MemoryStore()
    service = Metrics(store)
    lines = [builders.line(name) for name in sorted(TYPES)] * 3
    for _ in range(2):
        await service.apply(builders.envelope(lines), OPEN_DEADLINE)
    assert dict(await store.query(sql.query("metrics_by_type"))) == dict.fromkeys(TYPES, 3)  # type: ignore[arg-type]  # pairs


async def test_the_sample_identities_hold(clickhouse: ClickHouseStore) -> None:
    """Targeted, sent, bounce: the identities that the vendor's published sample shows."""
    lines = make_events(random.Random(5), 800)
    await Metrics(clickhouse).apply(builders.envelope(lines), OPEN_DEADLINE)
    [found] = (await _grouped(clickhouse, "1", "sender")).values()
    assert found["count_bounce"] == found["count_inband_bounce"] + found["count_outofband_bounce"]
    assert found["count_bounce"] == sum(found[f"count_{each}_bounce"] for each in BOUNCED)
    assert found["count_delivered"] == found["count_delivered_first"] + found["count_delivered_subsequent"]
    assert found["count_delivered"] == sum(found[f"attempt {each}"] for each in range(3))
