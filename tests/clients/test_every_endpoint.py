"""Every endpoint of webhooks, events, metrics and suppression list, asked over HTTP of a filled system.

What each answers in detail is tested beside its code; here that the whole stands together, and none is forgotten.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import urllib3
from tests.clients.filled import Filled

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

FROM = (datetime.now(UTC) - timedelta(hours=23)).strftime("%Y-%m-%dT%H:%M")
HOOK = "webhooks/{webhook}"
DELIVERABILITY = "metrics/deliverability"
GROUPS = (
    "domain", "sending-domain", "sending-ip", "ip-pool", "campaign", "template", "subaccount", "watched-domain",
    "mailbox-provider", "mailbox-provider-region",
)  # fmt: skip
SUBJECTS = "subject-campaign"
REASONS = ("bounce-reason", "bounce-reason/domain", "bounce-classification")
FIXED = ("rejection-reason", "rejection-reason/domain", "delay-reason", "delay-reason/domain", "attempt")
LISTS = (
    "campaigns", "domains", "templates", "sending-domains", "sending-ips", "ip-pools", "mailbox-providers",
    "mailbox-provider-regions", "subject-campaigns",
)  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One request, and what of its answer is looked at here."""

    method: str
    path: str
    status: int = 200
    body: Any = None
    links: type | None = None
    needs_key: bool = True
    fields: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


CALLS = [
    Call("GET", "webhooks"),
    Call("GET", HOOK),
    Call("PUT", HOOK, body={"name": "renamed"}),
    Call("POST", f"{HOOK}/validate", body=[{"msys": {}}]),
    Call("GET", f"{HOOK}/batch-status", fields={"limit": "10"}),
    Call("GET", f"{HOOK}/delivery"),
    Call("PUT", f"{HOOK}/delivery", body={"batch_events_max": 50}),
    Call("GET", f"{HOOK}/attempts", fields={"limit": "10"}),
    Call("POST", f"{HOOK}/pause", body={}),
    Call("POST", f"{HOOK}/resume", body={}),
    Call("POST", f"{HOOK}/retry", body={}),
    Call("POST", f"{HOOK}/ping", body={}),
    Call("POST", f"{HOOK}/replays", 201, body={"from": FROM}),
    Call("GET", f"{HOOK}/replays"),
    Call("GET", f"{HOOK}/signing-secret"),
    Call("POST", f"{HOOK}/signing-secret", 201, body={"overlap_seconds": 60}),
    Call("GET", "audit", fields={"since": "1h"}),
    Call("GET", "webhooks/events/documentation", needs_key=False),
    Call("GET", "webhooks/events/samples", fields={"events": "bounce,open"}, needs_key=False),
    Call("GET", "events/message", fields={"per_page": "5"}, links=dict),
    Call("GET", "events/message/documentation", needs_key=False),
    Call("GET", "events/message/samples", fields={"events": "bounce,open"}, needs_key=False),
    Call("GET", "events/ingest"),
    Call("GET", "message-events", fields={"per_page": "5"}, links=list),
    Call("GET", "message-events/events/documentation", needs_key=False),
    Call("GET", "message-events/events/samples", needs_key=False),
    Call("GET", "metrics", links=list),
    Call("GET", DELIVERABILITY, fields={"from": FROM, "metrics": "count_sent"}, links=list),
    Call("GET", f"{DELIVERABILITY}/time-series", fields={"from": FROM, "metrics": "count_sent", "precision": "hour"}),
    Call("GET", f"{DELIVERABILITY}/link-name", fields={"from": FROM, "metrics": "count_clicked,count_raw_clicked"}),
    Call("GET", f"{DELIVERABILITY}/query-filters-schema"),
    *(Call("GET", f"{DELIVERABILITY}/{name}", fields={"from": FROM, "metrics": "count_injected"}) for name in GROUPS),
    Call("GET", f"{DELIVERABILITY}/{SUBJECTS}", fields={"from": FROM, "metrics": "count_inbox_panel"}),
    *(Call("GET", f"{DELIVERABILITY}/{name}", fields={"from": FROM, "metrics": "count_bounce"}) for name in REASONS),
    *(Call("GET", f"{DELIVERABILITY}/{name}", fields={"from": FROM}) for name in FIXED),
    *(Call("GET", f"metrics/{name}") for name in LISTS),
    Call("PUT", "suppression-list", body={"recipients": [{"recipient": "all@x.example", "type": "transactional"}]}),
    Call("PUT", "suppression-list/one@x.example", body={"type": "non_transactional"}),
    Call("GET", "suppression-list/one@x.example", links=list),
    Call("GET", "suppression-list", fields={"cursor": "initial", "per_page": "5"}, links=list),
    Call("GET", "suppression-list/summary"),
    Call("DELETE", "suppression-list/one@x.example", 204),
    Call("DELETE", "suppression-list/one@x.example", 404),
    Call("DELETE", HOOK, 204),
]
ELSEWHERE = {
    "POST webhooks", "GET status", "GET audit", "POST ingest/events", "GET suppression-list/changes",
    "GET webhooks/one/replays/two", "DELETE webhooks/one/replays/two",
}  # fmt: skip
"""Called by the fixture below, or tested where they are at home; the last one is a stream."""


@pytest.fixture(scope="module")
def webhook(system: Filled) -> str:
    """The id of one that this module may rename and delete."""
    made = system.system.api(
        "POST", "/api/v1/webhooks", name="mine", target=system.receiver.target, events=["delivery"]
    )
    return str(made["results"]["id"])


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_it_answers(call: Call, system: Filled, webhook: str) -> None:
    """With its status, in JSON, with `results` and with links of the kind its clients know."""
    answer = ask(system, call, webhook)
    assert answer.status == call.status, answer.data
    if call.status == 204:
        assert answer.data == b""
        return
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    if call.status == 200 and not call.path.endswith("schema"):
        assert "results" in body
    if call.links is not None:
        assert type(body["links"]) is call.links
        links = json.dumps(body["links"])
        hrefs = re.findall(r'"(?:href|next)": ?"([^"]+)"', links)
        assert hrefs or body["links"] in ({}, [])
        assert all(href.startswith("/api/v1/") for href in hrefs)


@pytest.mark.parametrize("call", [each for each in CALLS if each.needs_key and each.status == 200], ids=str)
def test_without_a_key_it_says_nothing(call: Call, system: Filled, webhook: str) -> None:
    """401, in the words of clients' error handlers."""
    answer = ask(system, call, webhook, key="")
    assert (answer.status, answer.json()) == (401, {"errors": [{"message": "Unauthorized."}]})


def test_none_is_forgotten(system: Filled) -> None:
    """Every operation of the OpenAPI document is called here or named."""
    with system.client() as client:
        document = client.request("GET", f"https://{system.host}/openapi.json").json()
    operations = {
        f"{method.upper()} {path.removeprefix('/api/v1/')}"
        for path, methods in document["paths"].items()
        if path.startswith("/api/v1/")
        for method in methods
    }
    called = {str(call) for call in CALLS} | ELSEWHERE
    forgotten = [each for each in operations if not any(matches(each, call) for call in called)]
    assert forgotten == []


def matches(operation: str, call: str) -> bool:
    """Whether a call is of this operation, whose path may hold parameters."""
    return re.fullmatch(re.sub(r"\\\{.*?\\\}", "[^/]+", re.escape(operation)), call) is not None


def ask(system: Filled, call: Call, webhook: str, key: str | None = None) -> urllib3.BaseHTTPResponse:
    """One request."""
    headers = {"Authorization": system.key if key is None else key} if call.needs_key else {}
    url = f"https://{system.host}/api/v1/{call.path.replace('{webhook}', webhook)}"
    with system.client() as client:
        if call.body is not None:
            return client.request(call.method, url, headers=headers, json=call.body)
        return client.request(call.method, url, headers=headers, fields=call.fields or None)
