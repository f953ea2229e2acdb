"""What must come of what was sent, counted line by line by code that shares nothing with the services."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from omni_etl.suppression_list import address_key

Key = tuple[Any, ...]

HOUR_SECONDS = 3600
MINUTE_SECONDS = 60
HARD = {"10", "30", "90"}
CATEGORIES = {
    **dict.fromkeys(HARD, "hard"),
    **dict.fromkeys(("20", "21", "22", "23", "24", "40", "60", "70", "100"), "soft"),
    **dict.fromkeys(("50", "51", "52", "53", "54"), "block"),
    **dict.fromkeys(("25", "26", "80"), "admin"),
}
PLAIN = {
    "injection": "injected",
    "policy_rejection": "policy_rejection",
    "generation_failure": "generation_failed",
    "generation_rejection": "generation_rejection",
    "spam_complaint": "spam_complaint",
    "list_unsubscribe": "unsubscribe",
    "link_unsubscribe": "unsubscribe",
}
ENGAGED = {"open": "rendered", "initial_open": "initial_rendered", "click": "clicked"}
FAILURES = {"policy_rejection", "generation_failure", "generation_rejection", "delay", "bounce", "out_of_band"}
SAYS_NO = {"spam_complaint", "list_unsubscribe", "link_unsubscribe"}


class Agent(msgspec.Struct):
    """The part that says whether a machine fetched it."""

    is_prefetched: bool | None = None


class Seen(msgspec.Struct):
    """An event as this page reads it."""

    type: str
    timestamp: str
    event_id: str
    subaccount_id: str = "0"
    rcpt_to: str = ""
    friendly_from: str = ""
    recipient_domain: str | None = None
    sending_domain: str | None = None
    mailbox_provider: str = ""
    mailbox_provider_region: str = ""
    campaign_id: str = ""
    template_id: str = ""
    ip_pool: str = ""
    sending_ip: str = ""
    num_retries: str = "0"
    queue_time: str = "0"
    msg_size: str = "0"
    bounce_class: str = ""
    reason: str = ""
    transactional: str = "0"
    target_link_name: str = ""
    target_link_url: str = ""
    user_agent_parsed: Agent | None = None


class Expected:
    """Shown every line with `add`, once. Digests are 64 bits: of a million events, no two share one."""

    def __init__(self) -> None:
        self.lines = array("Q")  # digests of whole lines
        self.ids = array("Q")  # digests of event ids
        self.rollups: Counter[Key] = Counter()  # by `(family, …)` as `rollup_statements` in judge.py groups: events
        self.delivery_ms: Counter[Key] = Counter()
        self.message_bytes: Counter[Key] = Counter()
        self.suppressed: dict[Key, tuple[int, str]] = {}  # recipient, subaccount, type → the latest that said so

    def add(self, lines: Iterable[bytes]) -> None:
        """Count these."""
        for line in lines:
            seen = _decode(line)
            self.lines.append(digest(line))
            self.ids.append(digest(seen.event_id.encode()))
            self._roll_up(seen)
            self._suppress(seen)

    def merge(self, other: Expected) -> None:
        """As if all had been shown to one."""
        self.lines += other.lines
        self.ids += other.ids
        for name in ("rollups", "delivery_ms", "message_bytes"):
            getattr(self, name).update(getattr(other, name))
        for about, said in other.suppressed.items():
            self.suppressed[about] = max(said, self.suppressed.get(about, said))

    def _roll_up(self, seen: Seen) -> None:
        at, account = int(seen.timestamp), int(seen.subaccount_id)
        self.rollups["type", at // MINUTE_SECONDS * MINUTE_SECONDS, account, seen.type] += 1
        measure = measure_of(seen)
        if measure is None:
            return
        domain = _domain(seen.recipient_domain, seen.rcpt_to)
        sender = _domain(seen.sending_domain, seen.friendly_from)
        keys: list[Key] = [
            ("hour", at // HOUR_SECONDS * HOUR_SECONDS, account, measure),
            ("domain", measure, domain, seen.mailbox_provider, seen.mailbox_provider_region),
            ("campaign", measure, seen.campaign_id, seen.template_id),
            ("sender", measure, sender, seen.ip_pool, seen.sending_ip),
        ]
        if seen.type in FAILURES:
            keys.append(("reason", measure, domain, seen.bounce_class, seen.reason))
        if seen.type == "click":
            keys.append(("link", measure, seen.target_link_name or seen.target_link_url))
        for key in keys:
            self.rollups[key] += 1
            if seen.type == "delivery":
                self.delivery_ms[key] += int(seen.queue_time)
                self.message_bytes[key] += int(seen.msg_size)

    def _suppress(self, seen: Seen) -> None:
        is_hard = seen.type in ("bounce", "out_of_band") and seen.bounce_class in HARD
        if seen.rcpt_to and (is_hard or seen.type in SAYS_NO):
            kind = "transactional" if seen.transactional == "1" else "non_transactional"
            about = (address_key(seen.rcpt_to), int(seen.subaccount_id), kind)
            said = (int(seen.timestamp) * 1000, seen.event_id)
            self.suppressed[about] = max(said, self.suppressed.get(about, said))


def measure_of(seen: Seen) -> str | None:
    """What the metrics call it; None where it counts by its type alone."""
    if seen.type == "delivery":
        return {"0": "delivered_first", "1": "delivered_second"}.get(seen.num_retries, "delivered_third_or_later")
    if seen.type == "delay":
        return "delayed_first" if seen.num_retries == "0" else "delayed_again"
    if seen.type in ("bounce", "out_of_band"):
        return f"{seen.type}_{CATEGORIES.get(seen.bounce_class, 'undetermined')}"
    if seen.type in ENGAGED:
        is_prefetched = seen.user_agent_parsed is not None and seen.user_agent_parsed.is_prefetched
        return ENGAGED[seen.type] + ("_prefetched" if is_prefetched else "")
    return PLAIN.get(seen.type)


def digest(text: bytes) -> int:
    """The same as ClickHouse's `reinterpretAsUInt64(substring(MD5(text), 1, 8))`."""
    return int.from_bytes(hashlib.md5(text, usedforsecurity=False).digest()[:8], "little")


def _domain(given: str | None, address: str) -> str:
    return given if given is not None else address.rpartition("@")[2].lower()


_decode = msgspec.json.Decoder(Seen).decode
