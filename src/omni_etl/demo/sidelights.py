"""The demo's events that belong to no sent email: relays, A/B tests, ingest batches and text messages."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from omni_etl.demo import words
from omni_etl.demo.account import CUSTOMER_ID, DAY_SECONDS, STREAM_SECONDS, fragment, iso_time

ROUNDS_COUNT: Final = 4


class Sidelight(NamedTuple):
    """One event; `is_named` says whether the diary gives it an id of its usual kind."""

    type: bytes
    at: float
    members: bytes
    is_named: bool


def sidelights(rng: random.Random, *, now: float) -> Iterator[Sidelight]:
    """Every type that no message of ours lives through, a few times."""
    for _ in range(ROUNDS_COUNT):
        at = now - (1 + rng.random()) * STREAM_SECONDS  # a relay is tried again for some minutes
        yield from _relays(rng, at)
        yield Sidelight(b"sms_status", at, fragment(_sms(rng)), is_named=False)  # by reference it has no event_id
    yield Sidelight(
        b"ab_test_completed", at, _with_uuid(rng, ab_test=_ab_test(rng, winner="template-5")), is_named=False
    )
    yield Sidelight(b"ab_test_cancelled", at, _with_uuid(rng, ab_test=_ab_test(rng, winner=None)), is_named=False)
    yield Sidelight(b"success", at, _with_uuid(rng, **_ingest(rng, at)), is_named=False)
    yield Sidelight(b"error", at, _with_uuid(rng, **_ingest(rng, at), **_ingest_failure(rng)), is_named=False)


def _relays(rng: random.Random, at: float) -> Iterator[Sidelight]:
    """Two inbound messages: one is refused, one fails for a while and then for good, or arrives."""
    common = _relay(rng, at)
    fault = {"error_code": "503", "reason": "HTTP 503 from a.b.c.d", "raw_reason": "HTTP 503 from 203.0.113.5"}
    sent = {
        "delv_method": "http",
        "ip_pool": "inbound",
        "sending_ip": "198.51.100.200",
        "routing_domain": "hooks.example",
    }
    refused = {"bounce_class": "51", **fault, "remote_addr": "203.0.113.66"}
    yield Sidelight(b"relay_rejection", at, fragment({**_relay(rng, at), **refused}), is_named=True)
    yield Sidelight(b"relay_injection", at, fragment({**common, **sent, "msg_size": "4711"}), is_named=True)
    late = {**common, **sent, "num_retries": "0", "queue_time": "120000"}
    yield Sidelight(b"relay_tempfail", at + 120, fragment({**late, **fault}), is_named=True)
    late |= {"num_retries": "1", "queue_time": "500000"}
    yield Sidelight(b"relay_permfail", at + 500, fragment({**late, **fault, "outbound_tls": "-1"}), is_named=True)
    yield Sidelight(b"relay_delivery", at + 500, fragment({**late, **_relay(rng, at)}), is_named=True)


def _relay(rng: random.Random, at: float) -> dict[str, Any]:
    return {
        "customer_id": CUSTOMER_ID,
        "message_id": f"{rng.getrandbits(80):020x}",
        "msg_from": f"writer-{rng.randint(1, 999)}@elsewhere.example",
        "injection_time": iso_time(at).decode(),
        "rcpt_to": "replies@in.shop.example",
        "raw_rcpt_to": "Replies@in.shop.example",
        "rcpt_hash": f"{rng.getrandbits(160):040x}",
        "recv_method": "esmtp",
        "origination": "inbound",
        "relay_id": str(rng.randint(10**9, 10**10)),
    }


def _sms(rng: random.Random) -> dict[str, Any]:
    return {
        "customer_id": CUSTOMER_ID,
        "subaccount_id": "7",
        "delv_method": "smpp",
        "recv_method": "rest",
        "dr_latency": f"{rng.random():.2f}",
        "ip_address": "203.0.113.40",
        "routing_domain": "sms.example",
        "reason": "accepted",
        "raw_reason": "accepted",
        "sms_coding": "UCS2",
        "sms_dst": f"1555{rng.randint(10**6, 10**7)}",
        "sms_dst_npi": "E164",
        "sms_dst_ton": "International",
        "sms_remoteids": [f"{rng.getrandbits(32):08x}" for _ in range(3)],
        "sms_segments": rng.randint(1, 5),
        "sms_src": "1234",
        "sms_text": rng.choice(words.SUBJECTS),
        "stat_type": "SMSC Delivery",
        "stat_state": "Delivered",
    }


def _ab_test(rng: random.Random, *, winner: str | None) -> dict[str, Any]:
    variants = [
        {"template_id": f"template-{n}", "count_unique_clicked": rng.randint(0, 99), "count_accepted": 100}
        for n in range(3)
    ]
    test = {
        "id": f"ab-{rng.randint(1, 99)}",
        "name": "\u00dcber-Test \u2697\ufe0f",
        "version": rng.randint(1, 9),
        "test_mode": "bayesian",
        "engagement_metric": "count_unique_clicked",
        "default_template": variants[0],
        "variants": variants[1:],
    }
    return test if winner is None else {**test, "winning_template_id": winner}


def _ingest(rng: random.Random, at: float) -> dict[str, Any]:
    return {
        "batch_id": _uuid(rng),
        "expiration_timestamp": str(int(at) + DAY_SECONDS),
        "number_succeeded": rng.randint(1, 1000),
        "number_duplicates": rng.randint(0, 10),
    }


def _ingest_failure(rng: random.Random) -> dict[str, Any]:
    return {
        "number_failed": rng.randint(1, 10),
        "error_type": "validation",
        "retryable": False,
        "href": f"https://api.example/api/v1/ingest/events/failures/{_uuid(rng)}",
    }


def _with_uuid(rng: random.Random, **members: Any) -> bytes:
    return fragment({"event_id": _uuid(rng), "customer_id": CUSTOMER_ID, **members})


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
