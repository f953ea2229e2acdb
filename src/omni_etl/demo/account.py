"""The sender behind the demo's events: subaccounts, campaigns, transmissions and the people who are written to.

Everything that events share is rendered once, as a *fragment*: the bytes of some members of a JSON object, each with
a comma in front. A line is then a few fragments put together, which is twenty times as fast as encoding a dict.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from omni_etl.demo import words

CUSTOMER_ID: Final = "1"
SUBACCOUNTS_COUNT: Final = 40
CAMPAIGNS_COUNT: Final = 240
HOT_TRANSMISSIONS_COUNT: Final = 12  # transmissions that run at the same time
RECIPIENTS_SHARE_TOTAL: Final = 1000
DAY_SECONDS: Final = 86_400
MINUTE_SECONDS: Final = 60.0
STREAM_SECONDS: Final = 600.0  # how far back injections go: events come in as they happen, not a day late

# How the account is made up. Round figures of ours; only their skew is meant to be lifelike.
TRANSACTIONAL_SHARE: Final = 0.3
SCHEDULED_SHARE: Final = 0.3
EMPTY_META_SHARE: Final = 0.2
NESTED_META_SHARE: Final = 0.2
PRIMARY_EACH: Final = 8  # every so many campaigns one is the primary account's own
NAMELESS_EACH: Final = 20
AB_TEST_EACH: Final = 5
CAPITALS_EACH: Final = 7
TAGGED_EACH: Final = 16


@dataclass(frozen=True, slots=True)
class Transmission:
    """One send: what all its messages have in common, as fragments."""

    account: bytes  # customer_id, subaccount_id
    common: bytes  # what every event of a message carries, but for the recipient
    ab_test: bytes
    heading: bytes  # scheduled_time, subject
    metas: tuple[bytes, ...]  # rcpt_meta and rcpt_tags, one of them for each recipient
    sending: tuple[bytes, ...]  # ip_pool and sending_ip, one of them for each message


@dataclass(frozen=True, slots=True)
class Recipient:
    """One address, as fragments."""

    who: bytes  # rcpt_to and what follows from it
    routing: bytes  # routing_domain


@dataclass(frozen=True, slots=True)
class _Campaign:
    """What a subaccount sends again and again."""

    subaccount: int  # 0: the primary account
    name: str | None
    template_id: str
    pool: str
    transactional: bool
    sending_domain: str
    ab_test_id: str | None


class Account:
    """One customer with many subaccounts; the same `rng` state makes the same account."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._campaigns = [self._campaign(number) for number in range(CAMPAIGNS_COUNT)]
        self._domains = _domains_by_share()
        self._locals = [(f"{first}.{last}", first, last) for first in words.FIRST_NAMES for last in words.LAST_NAMES]

    def transmissions(self, now: float) -> list[Transmission]:
        """What is being sent at one time: a few big sends and some small ones (see `pick`)."""
        return [self._transmission(now) for _ in range(HOT_TRANSMISSIONS_COUNT)]

    def recipient(self) -> Recipient:
        """Someone; the same one comes back now and then."""
        rng = self._rng
        domain, tail = self._domains[int(rng.random() * RECIPIENTS_SHARE_TOTAL)]
        name, first, _ = self._locals[int(rng.random() * len(self._locals))]
        number = int(rng.random() ** 3 * 2000)
        raw = f"{name}+{first}{number}@{domain}" if number % TAGGED_EACH == 0 else f"{name}{number}@{domain}"
        if number % CAPITALS_EACH == 0:
            raw = raw.title()
        address = raw.lower().encode()
        who = b',"rcpt_to":"%b","raw_rcpt_to":"%b","rcpt_hash":"%b"%b' % (
            address,
            raw.encode(),
            hashlib.sha1(address, usedforsecurity=False).hexdigest().encode(),
            tail.who,
        )
        return Recipient(who, tail.routing)

    def _campaign(self, number: int) -> _Campaign:
        rng = self._rng
        # The cube skews: a few subaccounts send most of the mail.
        subaccount = 0 if number % PRIMARY_EACH == 0 else 1 + int(rng.random() ** 3 * SUBACCOUNTS_COUNT)
        transactional = rng.random() < TRANSACTIONAL_SHARE
        return _Campaign(
            subaccount=subaccount,
            name=None if number % NAMELESS_EACH == 0 else rng.choice(words.CAMPAIGNS),
            template_id=f"template-{number}",
            pool="transactional" if transactional else rng.choice(words.POOLS),
            transactional=transactional,
            sending_domain=f"mail.shop-{subaccount}.example",
            ab_test_id=f"ab-{number}" if number % AB_TEST_EACH == 0 else None,
        )

    def _transmission(self, now: float) -> Transmission:
        rng = self._rng
        campaign = self._campaigns[int(rng.random() ** 2 * CAMPAIGNS_COUNT)]
        account = {"customer_id": CUSTOMER_ID}
        if campaign.subaccount:
            account["subaccount_id"] = str(campaign.subaccount)
        heading: dict[str, Any] = {"subject": rng.choice(words.SUBJECTS)}
        if rng.random() < SCHEDULED_SHARE:
            heading["scheduled_time"] = str(int(now) - DAY_SECONDS)
        ab_test = {"ab_test_id": campaign.ab_test_id, "ab_test_version": str(rng.randint(1, 3))}
        return Transmission(
            account=fragment(account),
            common=fragment(self._common(campaign)),
            ab_test=fragment(ab_test) if campaign.ab_test_id else b"",
            heading=fragment(heading),
            metas=tuple(fragment(self._meta()) for _ in range(50)),
            sending=tuple(
                fragment({"ip_pool": campaign.pool, "sending_ip": f"198.51.100.{len(campaign.pool) * 8 + last}"})
                for last in range(4)
            ),
        )

    def _common(self, campaign: _Campaign) -> dict[str, str]:
        common = {
            "transmission_id": str(self._rng.randint(10**16, 10**17)),
            "template_id": campaign.template_id,
            "template_version": str(self._rng.randint(1, 9)),
            "friendly_from": f"news@{campaign.sending_domain}",
            "sending_domain": campaign.sending_domain,
            "transactional": "1" if campaign.transactional else "0",
        }
        return common if campaign.name is None else {**common, "campaign_id": campaign.name}

    def _meta(self) -> dict[str, Any]:
        rng = self._rng
        kind = rng.random()
        if kind < EMPTY_META_SHARE:
            return {"rcpt_meta": {}, "rcpt_tags": []}
        meta: dict[str, Any] = {"customer": f"c-{rng.getrandbits(40):010x}"}
        if kind > 1 - NESTED_META_SHARE:
            meta["order"] = {"total": round(rng.random() * 500, 2), "lines": [1, 2, None]}
        return {"rcpt_meta": meta, "rcpt_tags": [rng.choice(words.SEGMENTS)]}


def pick(transmissions: list[Transmission], rng: random.Random) -> Transmission:
    """One of those running, the first ones far more often than the last."""
    return transmissions[int(rng.random() ** 3 * len(transmissions))]


def fragment(members: dict[str, Any]) -> bytes:
    """The members of a JSON object as they stand inside it, with a comma in front."""
    return b"," + orjson.dumps(members)[1:-1]


def iso_time(at: float) -> bytes:
    """The time as SparkPost writes `injection_time`: ISO 8601 with milliseconds and Z."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:-6].encode() + b"Z"


def _domains_by_share() -> list[tuple[str, Recipient]]:
    """1,000 domains: a big one as often as its share, the rest companies of their own."""
    every = [domain for domain in words.DOMAINS for _ in range(domain.share)]
    for number in range(RECIPIENTS_SHARE_TOTAL - len(every)):
        company = f"company-{number}.example"
        every.append(words.Domain(company, 1, company, "Gsuite" if number % 2 else "Office 365", "Europe - UK"))
    return [
        (
            domain.name,
            Recipient(
                fragment(
                    {
                        "recipient_domain": domain.name,
                        "mailbox_provider": domain.provider,
                        "mailbox_provider_region": domain.region,
                    }
                ),
                fragment({"routing_domain": domain.routing_domain}),
            ),
        )
        for domain in every
    ]
