"""hose.intake: the hose over HTTP, on real sockets."""

import gzip
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import urllib3
import zstandard
from tests.hose.hoses import LIMITS, MIB, event
from tests.hose.served import Served, served

from omni_etl.errors import SpoolFullError
from omni_etl.hose import EventHose

ONE, TWO = event(1), event(2)
SMALL = replace(LIMITS, body_bytes_max=100_000, raw_bytes_max=200_000)


@pytest.fixture
def hose(tmp_path: Path) -> Iterator[Served]:
    """A hose with small limits."""
    with served(tmp_path, limits=SMALL) as running:
        yield running


def _post(hose: Served, body: Any, **headers: str) -> tuple[int, dict[str, Any], Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with urllib3.PoolManager(retries=False) as pool:
        response = pool.request("POST", hose.url + "/v1/events", body=body, headers=named)
        return response.status, orjson.loads(response.data), response.headers


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (ONE + b"\n" + TWO, {"content_type": "application/x-ndjson"}),
        (b"[" + ONE + b"," + TWO + b"]", {"content_type": "application/json; charset=utf-8"}),
        (ONE + b"\n" + TWO, {"content_type": "text/plain"}),
        (ONE + b"\n" + TWO, {}),
        (gzip.compress(ONE + b"\n" + TWO, mtime=0), {"content_encoding": "gzip"}),
        (zstandard.compress(ONE + b"\n" + TWO), {"content_encoding": "zstd"}),
    ],
    ids=["lines", "array", "text", "untyped", "gzip", "zstd"],
)
def test_events_in_any_form_are_accepted(tmp_path: Path, body: bytes, headers: dict[str, str]) -> None:
    """And arrive."""
    with served(tmp_path) as hose:
        status, answer, _ = _post(hose, body, **headers)
        assert (status, answer) == (200, {"accepted": 2, "rejected": []})
    assert sorted(hose.queue.lines()) == [ONE, TWO]


def test_bad_lines_are_named_and_the_good_ones_kept(hose: Served) -> None:
    """200, since something was accepted."""
    status, answer, _ = _post(hose, b"\n".join([ONE, b"{", b'{"type":"opened","timestamp":"1"}']))
    assert (status, answer["accepted"]) == (200, 1)
    assert [each["line"] for each in answer["rejected"]] == [2, 3]
    assert answer["rejected"][1]["reason"] == "unknown event type 'opened'"


def test_nothing_valid_is_400_with_the_reasons(hose: Served) -> None:
    """In the shape of a 200, so that one reader does for both."""
    status, answer, _ = _post(hose, b"rubbish\n[]")
    assert (status, answer["accepted"], [each["line"] for each in answer["rejected"]]) == (400, 0, [1, 2])


def test_an_import_says_that_its_events_are_old(tmp_path: Path) -> None:
    """In the address; anything else there is a mistake."""
    with served(tmp_path, limits=replace(LIMITS, event_age_seconds_max=86_400)) as hose, urllib3.PoolManager() as pool:
        answers = {
            asked: pool.request("POST", f"{hose.url}/v1/events{asked}", body=ONE)
            for asked in ("", "?old=false", "?old=true", "?old=1")
        }
    assert {asked: each.status for asked, each in answers.items()} == {
        "": 400,
        "?old=false": 400,
        "?old=true": 200,
        "?old=1": 400,
    }
    assert "imports say old=true" in answers[""].json()["rejected"][0]["reason"]
    assert answers["?old=1"].json() == {"errors": [{"message": "old must be true or false"}]}
    assert hose.queue.lines() == [ONE]


def test_the_probe_of_sparkpost_is_answered_kindly(hose: Served) -> None:
    """It only asks whether we are here."""
    assert _post(hose, b'[{"msys":{}}]', content_type="application/json")[:2] == (200, {"accepted": 0, "rejected": []})


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"[{]", {}, 400),
        (ONE, {"content_type": "application/x-www-form-urlencoded"}, 415),
        (ONE, {"content_type": "multipart/form-data; boundary=x"}, 415),
        (ONE, {"content_type": "application/xml"}, 415),
        (ONE, {"content_encoding": "br"}, 415),
        (ONE, {"content_encoding": "gzip"}, 400),
        (zstandard.compress(ONE)[:-1], {"content_encoding": "zstd"}, 400),
        (b"x" * 100_001, {}, 413),
        (iter([b"x" * 60_000, b"x" * 60_000]), {}, 413),
        (gzip.compress(bytes(10 * MIB), mtime=0), {"content_encoding": "gzip"}, 413),
        (zstandard.compress(bytes(100 * MIB)), {"content_encoding": "zstd"}, 413),
        (ONE, {"idempotency_key": "x" * 256}, 400),
    ],
    ids=range(13),
)
def test_each_bad_request_has_its_status_and_a_sentence(
    hose: Served, body: Any, headers: dict[str, str], status: int
) -> None:
    """And the hose goes on."""
    answered, answer, _ = _post(hose, body, **headers)
    assert answered == status
    assert answer["errors"][0]["message"]
    assert _post(hose, ONE)[0] == 200


def test_a_key_is_recognised_and_must_keep_its_body(hose: Served) -> None:
    """422 says which mistake it was."""
    assert _post(hose, ONE, idempotency_key="k")[0] == 200
    assert _post(hose, zstandard.compress(ONE), idempotency_key="k", content_encoding="zstd")[0] == 200
    status, answer, _ = _post(hose, TWO, idempotency_key="k")
    assert (status, answer["errors"][0]["message"]) == (422, "this Idempotency-Key came before with another body")


def test_a_full_spool_says_when_to_come_again(hose: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After, before the body is read."""

    def _full(_: EventHose) -> None:
        raise SpoolFullError("full", retry_after_seconds=7)

    monkeypatch.setattr(EventHose, "check_room", _full)
    status, _, headers = _post(hose, ONE)
    assert (status, headers["retry-after"]) == (503, "7")


def test_too_many_bytes_waiting_is_503(tmp_path: Path) -> None:
    """One slow request holds the room; another is told to come again."""
    with served(tmp_path, limits=replace(LIMITS, waiting_bytes_max=1_000)) as hose:
        with closing(socket.create_connection(("127.0.0.1", hose.port))) as slow:
            slow.sendall(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 990\r\n\r\n" + b" " * 900)
            statuses = {_post(hose, event(number) * 3)[0] for number in range(200)}
        assert 503 in statuses


def test_a_client_that_goes_away_in_its_body_leaves_nothing(tmp_path: Path) -> None:
    """Whole requests only."""
    with served(tmp_path) as hose:
        with closing(socket.create_connection(("127.0.0.1", hose.port))) as gone:
            gone.sendall(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n" + ONE + b"\n")
        assert _post(hose, TWO)[0] == 200
    assert hose.queue.lines() == [TWO]


def test_a_broken_length_is_refused(hose: Served) -> None:
    """By the HTTP parser, without a word of it to us."""
    with closing(socket.create_connection(("127.0.0.1", hose.port))) as client:
        client.sendall(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n")
        assert client.recv(1_000).startswith(b"HTTP/1.1 400")


def test_health_and_numbers_are_there(hose: Served) -> None:
    """For whoever watches."""
    _post(hose, ONE)
    with urllib3.PoolManager(retries=False) as pool:
        health = orjson.loads(pool.request("GET", hose.url + "/health").data)
        numbers = pool.request("GET", hose.url + "/metrics").data
    assert (health["status"], health["hose_id"]) == ("ok", hose.hose.hose_id)
    assert health["spool_bytes"] > 0
    assert b"omni_hose_events_accepted_total" in numbers


def test_a_hose_whose_disk_refuses_says_so(hose: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A balancer takes it out."""
    monkeypatch.setattr(EventHose, "is_refusing", True)
    with urllib3.PoolManager(retries=False) as pool:
        response = pool.request("GET", hose.url + "/health")
    assert (response.status, orjson.loads(response.data)["status"]) == (503, "refusing")
