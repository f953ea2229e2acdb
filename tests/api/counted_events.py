"""Events in both tables of a store, and what every metric is of them, counted one by one from the reference alone."""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson
from tests.builders import envelope, line

from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.services.message_events import columns as event_columns
from omni_etl.services.metrics.families import columns as metric_columns

BEGIN = 1_699_999_200  # 2023-11-14T22:00:00Z; the tests' clock begins 13 min 20 s later
Event = dict[str, Any]

HARD, SOFT, BLOCK, ADMIN = {"10", "30", "90"}, {"20", "21", "22", "23", "24", "40", "60", "70", "100"}, {"50", "51", "52", "53", "54"}, {"25", "26", "80"}  # fmt: skip
CLASSES = sorted(HARD | SOFT | BLOCK | ADMIN | {"1", "77", ""})
TYPES = [
    "injection", "policy_rejection", "generation_failure", "generation_rejection", "delivery", "delay", "bounce",
    "out_of_band", "open", "initial_open", "click", "spam_complaint", "list_unsubscribe", "link_unsubscribe", "amp_open",
    "relay_injection",
]  # fmt: skip


async def put(store: ClickHouseStore, lines: Sequence[bytes], *, seq: int = 1) -> None:
    """As the services do."""
    whole = envelope(lines, seq=seq)
    await store.insert("message_events", event_columns(whole), token=f"events {seq}", until=4e9)
    await store.insert("metrics", metric_columns(whole), token=f"metrics {seq}", until=4e9)


def mixed(count: int, *, seed: int, span_seconds: int = 3 * 3600) -> list[bytes]:
    """Events of every type that counts, and of some that do not; few names and few messages, so that much is equal."""
    rng = random.Random(seed)
    return [_one(rng, span_seconds) for _ in range(count)]


def _one(rng: random.Random, span_seconds: int) -> bytes:
    members = {
        "timestamp": str(BEGIN + rng.randrange(span_seconds)),
        "subaccount_id": rng.choice([None, "0", "7", "8"]),
        "rcpt_to": rng.choice(["ann@gmail.com", "bob@example.org"]),
        "recipient_domain": rng.choice(["gmail.com", "example.org", None]),
        "sending_domain": rng.choice(["send.example", "other.example"]),
        "sending_ip": rng.choice(["192.0.2.1", "192.0.2.2"]),
        "ip_pool": rng.choice(["a", "b", None]),
        "campaign_id": rng.choice(["Spring Sale", "autumn", None]),
        "template_id": rng.choice(["t1", "t2"]),
        "mailbox_provider": rng.choice(["Gmail", "Other"]),
        "mailbox_provider_region": rng.choice(["Global", "Europe"]),
        "message_id": rng.choice(["m1", "m2", "m3", "m4", None]),
        "transmission_id": rng.choice(["x", "y"]),
        "bounce_class": rng.choice(CLASSES),
        "reason": rng.choice(["550 no", "452 full", None]),
        "num_retries": rng.choice(["0", "1", "2", "17", None, "x"]),
        "queue_time": rng.choice(["5", "1200", None, "-3"]),
        "msg_size": rng.choice(["100", "40000", None]),
        "target_link_name": rng.choice(["buy", None, ""]),
        "target_link_url": rng.choice(["https://a.example/", "https://b.example/"]),
        "user_agent_parsed": rng.choice([None, {"is_prefetched": True}, {"is_prefetched": False}, {}]),
    }
    return line(rng.choice(TYPES), **{name: value for name, value in members.items() if value is not None})


def of_types(*names: str) -> Callable[[Event], bool]:
    """Events of these types."""
    return lambda event: event["type"] in names


def is_first(event: Event) -> bool:
    """At the first attempt; what is no number counts as that."""
    text = event.get("num_retries") or "0"
    return not text.isdigit() or int(text) == 0


def is_prefetched(event: Event) -> bool:
    """By a machine."""
    return bool((event.get("user_agent_parsed") or {}).get("is_prefetched"))


def category(event: Event) -> str:
    """Of a bounce."""
    code = event.get("bounce_class", "")
    names = ((HARD, "hard"), (SOFT, "soft"), (BLOCK, "block"), (ADMIN, "admin"))
    return next((name for codes, name in names if code in codes), "undetermined")


def count(events: Iterable[Event], *conditions: Callable[[Event], bool]) -> int:
    """How many."""
    return sum(all(holds(event) for holds in conditions) for event in events)


def total(events: Iterable[Event], field: str, *conditions: Callable[[Event], bool]) -> int:
    """The sum of whole numbers."""
    texts = [event.get(field, "") for event in events if all(holds(event) for holds in conditions)]
    return sum(int(text) for text in texts if text.isdigit())


def messages(events: Iterable[Event], unit_seconds: int, *conditions: Callable[[Event], bool]) -> int:
    """Distinct messages in each unit, summed."""
    return len(
        {
            (int(event["timestamp"]) // unit_seconds, event.get("message_id") or f"{event.get('transmission_id')}/{event.get('rcpt_to')}")
            for event in events
            if all(holds(event) for holds in conditions)
        }
    )  # fmt: skip


def by_hand(events: Sequence[Event], unit_seconds: int = 60) -> dict[str, int]:
    """Every metric of §4.4."""
    delivery, bounce, late = of_types("delivery"), of_types("bounce"), of_types("out_of_band")
    opened, first_opened, clicked = of_types("open"), of_types("initial_open"), of_types("click")
    confirmed = of_types("open", "initial_open", "click")

    def not_(holds: Callable[[Event], bool]) -> Callable[[Event], bool]:
        return lambda event: not holds(event)

    def is_(name: str) -> Callable[[Event], bool]:
        return lambda event: category(event) == name

    human = not_(is_prefetched)
    found = {
        "count_injected": count(events, of_types("injection")),
        "count_policy_rejection": count(events, of_types("policy_rejection")),
        "count_generation_failed": count(events, of_types("generation_failure")),
        "count_generation_rejection": count(events, of_types("generation_rejection")),
        "count_delivered": count(events, delivery),
        "count_delivered_first": count(events, delivery, is_first),
        "count_delivered_subsequent": count(events, delivery, not_(is_first)),
        "count_inband_bounce": count(events, bounce, not_(is_("admin"))),
        "count_outofband_bounce": count(events, late, not_(is_("admin"))),
        "count_admin_bounce": count(events, of_types("bounce", "out_of_band"), is_("admin")),
        "count_accepted": count(events, delivery) - count(events, late),
        "count_delayed": count(events, of_types("delay")),
        "count_delayed_first": count(events, of_types("delay"), is_first),
        "total_delivery_time_first": total(events, "queue_time", delivery, is_first),
        "total_delivery_time_subsequent": total(events, "queue_time", delivery, not_(is_first)),
        "total_msg_volume": total(events, "msg_size", delivery),
        "count_rendered": count(events, opened),
        "count_initial_rendered": count(events, first_opened),
        "count_clicked": count(events, clicked),
        "count_unique_rendered": messages(events, unit_seconds, opened),
        "count_unique_initial_rendered": messages(events, unit_seconds, first_opened),
        "count_unique_clicked": messages(events, unit_seconds, clicked),
        "count_unique_confirmed_opened": messages(events, unit_seconds, confirmed),
        "count_nonprefetched_rendered": count(events, opened, human),
        "count_nonprefetched_initial_rendered": count(events, first_opened, human),
        "count_nonprefetched_unique_rendered": messages(events, unit_seconds, opened, human),
        "count_nonprefetched_unique_initial_rendered": messages(events, unit_seconds, first_opened, human),
        "count_nonprefetched_unique_confirmed_opened": messages(events, unit_seconds, confirmed, human),
        "count_spam_complaint": count(events, of_types("spam_complaint")),
        "count_unsubscribe": count(events, of_types("list_unsubscribe", "link_unsubscribe")),
        "count_inbox_panel": 0,
    }
    for name in ("hard", "soft", "block", "undetermined"):
        found[f"count_{name}_bounce"] = count(events, of_types("bounce", "out_of_band"), is_(name))
    rejected = found["count_policy_rejection"] + found["count_generation_failed"] + found["count_generation_rejection"]
    found["count_rejected"] = rejected
    found["count_targeted"] = rejected + found["count_injected"]
    found["count_bounce"] = found["count_inband_bounce"] + found["count_outofband_bounce"]
    found["count_sent"] = found["count_delivered"] + found["count_inband_bounce"]
    return found


def decoded(lines: Sequence[bytes]) -> list[Event]:
    """As the counting above reads them."""
    return [orjson.loads(each) for each in lines]
