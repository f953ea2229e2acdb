"""One email of the demo, and what each event that befalls it says (SparkPost's field list for each type)."""

from __future__ import annotations

import random
from typing import Final

from omni_etl.demo import words
from omni_etl.demo.account import Recipient, Transmission, fragment, iso_time

TRACKING: Final = fragment({"amp_enabled": False, "click_tracking": True, "open_tracking": True, "initial_pixel": True})
AMP_TRACKING: Final = fragment(
    {"amp_enabled": True, "click_tracking": True, "open_tracking": True, "initial_pixel": True}
)
RECEIVED: Final = (fragment({"recv_method": "rest"}), fragment({"recv_method": "esmtp"}))
COPIES: Final = (fragment({"rcpt_type": "cc"}), fragment({"rcpt_type": "bcc"}))
READERS: Final = tuple(
    fragment(
        {
            "user_agent": reader.user_agent,
            "user_agent_parsed": {
                "agent_family": reader.family,
                "device_brand": reader.brand,
                "device_family": reader.device,
                "os_family": reader.os_family,
                **({"os_version": reader.os_version} if reader.os_version else {}),
                "is_mobile": reader.mobile,
                "is_proxy": "Proxy" in reader.family,
                "is_prefetched": reader.prefetched,
            },
        }
    )
    for reader in words.READERS
)
PREFETCHER: Final = len(READERS) - 1
PLACES: Final = tuple(
    fragment(
        {
            "ip_address": f"203.0.113.{number}",
            "geo_ip": {
                "country": country,
                "region": region,
                "city": city,
                "latitude": latitude,
                "longitude": longitude,
                "zip": code,
                "postal_code": code,
            },
        }
    )
    for number, (country, region, city, latitude, longitude, code) in enumerate(words.PLACES)
)
LINKS: Final = tuple(
    fragment({"target_link_url": url, "target_link_name": name} if name else {"target_link_url": url})
    for url, name in words.LINKS
)
TLS_SHARE: Final = 0.98
COMPLAINT: Final = fragment({"fbtype": "abuse", "report_by": "fbl.example.net", "report_to": "abuse.example.com"})


class Message:
    """What an email carries from event to event. Its methods answer the members that one event adds to the first three."""

    def __init__(
        self, send: Transmission, recipient: Recipient, *, rng: random.Random, injected_at: float, reads_amp: bool
    ) -> None:
        self._send = send
        self._rng = rng
        self.injected_at = injected_at
        number = rng.getrandbits(80)
        luck = number & 1023
        self._tracking = AMP_TRACKING if reads_amp else TRACKING
        self._received = RECEIVED[luck < 200]  # noqa: PLR2004 one in five came by SMTP
        self._copy = COPIES[luck & 1] if luck > 1000 else b""  # noqa: PLR2004 and one in forty is a copy
        self._sender = b"msprvs1=%x=bounces-%d@mail.example" % (number >> 40, luck)
        self._common = b"".join(
            (send.account, send.common, recipient.who, send.metas[luck % len(send.metas)], send.sending[luck & 3])
        )
        self._routing = recipient.routing
        self._injection_time = b',"injection_time":"%b"' % iso_time(injected_at)
        self._named = b',"message_id":"%020x","msg_from":"%b"%b' % (number, self._sender, self._injection_time)
        self._mail = b',"msg_size":"%d"%b%b%b' % (10_000 + 97 * luck, recipient.routing, send.heading, self._copy)
        self._sent = self._common + send.ab_test + self._tracking + self._named + self._mail
        self._tries = b""

    def injection(self) -> bytes:
        """Accepted and queued."""
        return self._sent + self._received

    def attempt(self, at: float, *, tries: int) -> None:
        """Remember one try to hand the message over; the events that follow tell of it."""
        queue_ms = (at - self.injected_at) * 1000
        self._tries = b',"num_retries":"%d","queue_time":"%d","delv_method":"esmtp"' % (tries, queue_ms)

    def delivery(self) -> bytes:
        """The receiving server took it."""
        return b'%b%b%b,"ip_address":"192.0.2.%d","outbound_tls":"%d"' % (
            self._sent, self._received, self._tries, int(self._rng.random() * 200), self._rng.random() < TLS_SHARE,
        )  # fmt: skip

    def delay(self, failure: bytes) -> bytes:
        """One try failed for now."""
        return self.bounce(failure) + b',"outbound_tls":"1"'

    def bounce(self, failure: bytes) -> bytes:
        """It failed for good (these types carry no A/B test)."""
        return b'%b%b%b%b%b%b,"ip_address":"192.0.2.9"%b' % (
            self._common, self._tracking, self._named, self._mail, self._received, self._tries, failure,
        )  # fmt: skip

    def out_of_band(self, failure: bytes, *, is_stripped: bool) -> bytes:
        """A report came after the delivery; a stripped one does not say about which message."""
        if is_stripped:
            return self._send.account + failure
        return self._common + self._send.ab_test + self._named + self._routing + self._received + self._tries + failure

    def policy_rejection(self, failure: bytes) -> bytes:
        """Refused at intake."""
        return b'%b%b%b%b%b%b,"remote_addr":"203.0.113.7"' % (
            self._common, self._send.ab_test, self._named, self._copy, self._received, failure,
        )  # fmt: skip

    def generation(self, failure: bytes) -> bytes:
        """The template did not become a message, so nothing names one."""
        return b'%b%b%b%b%b,"rcpt_subs":{"country":"US","name":null}' % (
            self._common, self._send.ab_test, self._routing, self._received, failure,
        )  # fmt: skip

    def complaint(self) -> bytes:
        """The recipient called it spam."""
        return self._common + self._send.ab_test + self._named + self._mail + self._tries + COMPLAINT

    def reading(self, *, is_prefetched: bool = False) -> bytes:
        """A pixel was fetched, by a person or by a machine ahead of one."""
        reader = READERS[PREFETCHER if is_prefetched else int(self._rng.random() * PREFETCHER)]
        return self._sent + self._tries + PLACES[int(self._rng.random() * len(PLACES))] + reader

    def click(self) -> bytes:
        """A link was followed."""
        return self.reading() + LINKS[int(self._rng.random() * len(LINKS))]

    def list_unsubscribe(self) -> bytes:
        """The mail program's own button."""
        return b'%b%b%b,"mailfrom":"%b","ip_address":"203.0.113.80"' % (
            self._sent,
            self._received,
            self._tries,
            self._sender,
        )

    def link_unsubscribe(self) -> bytes:
        """The link in the text."""
        return self.list_unsubscribe() + LINKS[0] + b',"user_agent":"Mozilla/5.0"'


def failure(reply: words.Reply, *, has_class: bool = True) -> bytes:
    """What a server's no looks like in an event."""
    members = {"error_code": reply.error_code, "raw_reason": reply.raw_reason, "reason": reply.reason}
    return fragment({"bounce_class": reply.bounce_class, **members} if has_class else members)
