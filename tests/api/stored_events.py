"""Events in a store, for tests that search them, and what Python itself finds among them."""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from tests.builders import envelope, line

from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.services.message_events import columns

NOW = 1_700_000_000  # of a ManualClock
HOUR = 3600
Event = dict[str, Any]
Matches = Callable[[Event, str], bool]


async def put(store: ClickHouseStore, lines: Sequence[bytes], *, seq: int) -> None:
    """As the service does, an envelope at a time."""
    await store.insert("message_events", columns(envelope(lines, seq=seq)), token=f"token {seq}", until=4e9)


def various(count: int, *, seed: int) -> list[bytes]:
    """Events with something of everything that is searched for, few times and few values, so that much is alike."""
    rng = random.Random(seed)
    return [_one(rng, f"{seed}-{number}") for number in range(count)]


def _one(rng: random.Random, event_id: str) -> bytes:
    choice = rng.choice
    members = {
        "timestamp": str(NOW - HOUR - rng.randrange(40)),
        "event_id": event_id,
        "customer_id": "1",
        "subaccount_id": choice([None, "", "0", "7", "8"]),
        "rcpt_to": choice(["ann@example.com", "Bob@Mail.Example.com", "zoë@exämple.org", None]),
        "friendly_from": choice(["news@Send.example.com", "o'neil@send.example.org", None]),
        "recipient_domain": choice(["example.com", "info.example.com", "mail.yahoo.co.uk", None]),
        "sending_domain": choice(["send.example.com", "other.org", None]),
        "subject": choice(["Summer deals - are here!", "summer_sale", "Sommer süß", "a.b (c)", "", None]),
        "campaign_id": choice(["blackfriday-vip", "black friday", "friday", None]),
        "template_id": choice(["welcome_1", "welcome_12", None]),
        "ip_pool": choice(["pool-a", "pool-b", None]),
        "sending_ip": choice(["192.0.2.1", "192.0.2.11", None]),
        "reason": choice(["550 5.1.1 No such user", "451 try again", "50% off", None]),
        "bounce_class": choice(["1", "10", None]),
        "mailbox_provider": choice(["Gmail", "Microsoft", None]),
        "mailbox_provider_region": choice(["Europe - UK", "Global", None]),
        "message_id": choice(["000443ee14578172be22", "000443ee14578172be23", None]),
        "transmission_id": choice(["65832150921904138", "1", None]),
        "ab_test_id": choice(["password-reset", "reset", None]),
        "ab_test_version": choice(["1", "2", None]),
    }
    present = {name: value for name, value in members.items() if value is not None}
    return line(choice(["injection", "delivery", "bounce", "open", "click"]), **present)


def equal(name: str) -> Matches:
    """The field is this value."""
    return lambda event, value: event.get(name, "") == value


def equal_folded(name: str) -> Matches:
    """Whatever the case of letters of ASCII."""
    return lambda event, value: _lower(event.get(name, "")) == _lower(value)


def worded(name: str, separators: str = " _-") -> Matches:
    """The value's words stand in a row in the field."""

    def matches(event: Event, value: str) -> bool:
        words, wanted = (
            [word.lower() for word in re.split(f"[{separators}]", text) if word]
            for text in (_field(event, name), value)
        )
        places = range(len(words) - len(wanted) + 1)
        return bool(wanted) and any(words[place : place + len(wanted)] == wanted for place in places)

    return matches


def subaccount(event: Event, value: str) -> bool:
    """0 is the primary account."""
    return int(event.get("subaccount_id") or 0) == int(value)


FILTERS: Mapping[str, tuple[Matches, Sequence[str]]] = {
    "events": (equal("type"), ["delivery", "bounce", "sms_status"]),
    "event_ids": (equal("event_id"), ["1-3", "1-4", "1"]),
    "recipients": (equal_folded("rcpt_to"), ["ANN@example.com", "bob@mail.example.com", "zoë@exämple.org", "nobody"]),
    "from_addresses": (equal_folded("friendly_from"), ["news@send.example.com", "O'Neil@send.example.org", "news"]),
    "recipient_domains": (
        worded("recipient_domain", "._-"),
        ["example.com", "yahoo", "com.example", "EXAMPLE", "mail.example"],
    ),
    "sending_domains": (worded("sending_domain", "._-"), ["send", "other.org", "send.example.org"]),
    "subjects": (
        worded("subject"),
        ["summer", "summer deals", "deals are", "here", "SÜß", "süß", "a.b (c)", "a.b", "-"],
    ),
    "campaigns": (worded("campaign_id"), ["blackfriday", "friday", "Black Friday", "blackfriday vip"]),
    "templates": (worded("template_id"), ["welcome_1", "12", "welcome"]),
    "ip_pools": (worded("ip_pool"), ["pool", "a", "pool-b"]),
    "reasons": (worded("reason"), ["no such user", "550", "5", "50%"]),
    "mailbox_providers": (worded("mailbox_provider"), ["gmail", "Microsoft", "mail"]),
    "mailbox_provider_regions": (worded("mailbox_provider_region"), ["uk", "europe uk", "Global"]),
    "bounce_classes": (equal("bounce_class"), ["1", "10"]),
    "sending_ips": (equal("sending_ip"), ["192.0.2.1", "192.0.2"]),
    "subaccounts": (subaccount, ["0", "7", "9"]),
    "messages": (equal("message_id"), ["000443ee14578172be22", "000443EE14578172BE23"]),
    "transmissions": (equal("transmission_id"), ["1", "65832150921904138"]),
    "ab_tests": (worded("ab_test_id"), ["reset", "password reset"]),
    "ab_test_versions": (equal("ab_test_version"), ["1", "3"]),
}
"""Each parameter of `/events/message`, what it means in Python, and values to ask it with."""


def matching(lines: Sequence[bytes], asked: Mapping[str, Sequence[str]]) -> set[str]:
    """The ids of events that a search must find."""
    return {
        event["event_id"]
        for event in map(orjson.loads, lines)
        if all(any(FILTERS[name][0](event, value) for value in values) for name, values in asked.items())
    }


def _field(event: Event, name: str) -> str:
    """A domain that an event does not name is its address's."""
    address = {"recipient_domain": "rcpt_to", "sending_domain": "friendly_from"}.get(name)
    found = event.get(name)
    if found is None and address is not None:
        found = event.get(address, "").rpartition("@")[2]
    return str(found or "")


def _lower(text: str) -> str:
    return text.encode().lower().decode()
