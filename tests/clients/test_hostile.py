"""What a client should not send: every operation refuses it with a 4xx that says nothing of our inside."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlencode

import pytest
import urllib3
from tests.clients.filled import Filled

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

DEEP: Final = b"[" * 100_000 + b"]" * 100_000
BODIES: Final = {
    "10 MB": b'{"recipients":[' + b" " * (11 * 1024 * 1024) + b"]}",
    "deep": DEEP,
    "deep inside": b'{"recipients":[{"recipient":' + DEEP + b"}]}",
    "no JSON": b"{",
    "not UTF-8": b'{"name":"\xff\xfe"}',
    "a lone surrogate": b'{"name":"\\ud800","target":"https://x.example","events":["bounce"]}',
    "NUL": b'{"name":"a\\u0000b","recipients":[{"recipient":"a\\u0000@x.example","type":"transactional"}]}',
    "a number": b"1",
    "a huge number": b'{"name":1' + b"0" * 5_000 + b"}",
    "other kinds": b'{"recipients":{"recipient":[1]},"name":[],"target":{},"events":7,"type":[null]}',
    "null": b"null",
}
VALUES: Final = (
    "\x00",
    "%ff%fe",
    "\ud800",
    "9" * 400,
    "-1",
    "1e9",
    "'; DROP TABLE message_events; --",
    "{x:String}",
    "😀" * 50,
    "a" * 3_000,
    "[]",
)
INSIDE: Final = (b"Traceback", b"site-packages", b"sqlite", b"DB::", b"asyncpg", b"SELECT", b".py")


@pytest.fixture(scope="module")
def operations(system: Filled) -> list[tuple[str, str, list[str]]]:
    """Method, path and the names of query parameters, from the document; without what is no JSON over HTTP."""
    with system.client() as client:
        document = client.request("GET", f"https://{system.host}/openapi.json").json()
    return [
        (method.upper(), path, [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"])
        for path, methods in document["paths"].items()
        if path.startswith("/api/v1/") and not path.endswith("/changes")
        for method, operation in methods.items()
    ]


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bodies(body: bytes, system: Filled, operations: list[Any]) -> None:
    """To everything that takes one."""
    for method, path, _ in operations:
        if method in {"POST", "PUT"}:
            answer = ask(system, method, path.replace("{recipient}", "a@x.example"), body=body)
            # The bulk call may be 50 MB; the target test of a webhook, and validation, take anything that is JSON.
            allowed = {200} if path.endswith(("validate", "ingest/events")) or b"a@x.example" in body else set()
            assert answer.status in allowed or 400 <= answer.status < 500, (method, path, answer.status, answer.data)
            assert_says_nothing(answer)


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_parameters(value: str, system: Filled, operations: list[Any]) -> None:
    """In every parameter of every query, and in every path."""
    for method, path, names in operations:
        if method == "GET":
            for name in names or [""]:
                answer = ask(system, method, path, place=value, query={name: value} if name else {})
                assert answer.status < 500, (method, path, name, answer.status, answer.data)
                assert_says_nothing(answer)


@pytest.mark.parametrize(
    "cursor", ["AAAA", "WycyMDE4LTAxLTAxVDAwOjAwOjAwLjAwMFonLCcxJ10=", "eyJhIjoxfQ", "\x00", "🐍", "a" * 2_000]
)
@pytest.mark.parametrize("path", ["/api/v1/events/message", "/api/v1/suppression-list"])
def test_forged_cursors(cursor: str, path: str, system: Filled) -> None:
    """400, with a word on the cursor."""
    answer = ask(system, "GET", path, query={"cursor": cursor})
    assert answer.status == 400, answer.data
    assert b"cursor" in answer.data
    assert_says_nothing(answer)


def test_another_tenants_things(system: Filled) -> None:
    """A subaccount's key finds no webhook, event, entry or count but its own, whatever it asks for."""
    key = system.new_key("--subaccount", "4711")
    mine = {"Authorization": key}
    [hook, *_] = system.system.api("GET", "/api/v1/webhooks")["results"]
    assert ask(system, "GET", f"/api/v1/webhooks/{hook['id']}", headers=mine).status == 404
    assert ask(system, "DELETE", f"/api/v1/webhooks/{hook['id']}", headers=mine).status == 404
    assert ask(system, "GET", "/api/v1/webhooks", headers=mine).json()["results"] == []
    for query in ({}, {"subaccounts": "0"}, {"subaccounts": "0,1,2,3"}):
        found = ask(system, "GET", "/api/v1/events/message", headers=mine, query=query)
        assert (found.status, found.json()["results"]) == (200, [])
    for header in ({}, {"X-MSYS-SUBACCOUNT": "0"}, {"X-MSYS-SUBACCOUNT": "1"}):
        found = ask(system, "GET", "/api/v1/suppression-list", headers={**mine, **header})
        assert (found.status, found.json()["results"]) == (200, [])
    query = {"from": "2020-01-01T00:00", "metrics": "count_injected", "precision": "day", "subaccounts": "0"}
    [counted] = ask(system, "GET", "/api/v1/metrics/deliverability", headers=mine, query=query).json()["results"]
    assert counted["count_injected"] == 0
    assert ask(system, "GET", "/api/v1/status", headers=mine).status == 403


def ask(
    system: Filled,
    method: str,
    path: str,
    *,
    place: str = "x",
    body: bytes | None = None,
    query: Any = None,
    headers: Any = None,
) -> urllib3.BaseHTTPResponse:
    """One request; `place` stands for each parameter of the path."""
    where = "/".join(_quoted(place) if part.startswith("{") else part for part in path.split("/"))
    asked = urlencode({name: _text(value) for name, value in (query or {}).items()})
    with system.client() as client:
        return client.request(
            method,
            f"https://{system.host}{where}?{asked}",
            headers={"Authorization": system.key, **(headers or {})},
            body=body,
        )


def _quoted(place: str) -> str:
    return "".join(f"%{each:02x}" for each in _text(place)[:500])


def _text(value: str) -> bytes:
    return value.encode(errors="surrogatepass")


def assert_says_nothing(answer: urllib3.BaseHTTPResponse) -> None:
    """No word of how it is made, and errors in the one shape."""
    if answer.status < 400:
        return
    assert not [word for word in INSIDE if word in answer.data], answer.data
    assert all(each["message"] for each in json.loads(answer.data)["errors"])
