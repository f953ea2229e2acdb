"""The way of one event, by real processes: from `omni send` to metrics, message events, suppressions and a customer."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.e2e.system import System, up, wait_until, watch_everything

from omni_etl.event import STRING_FIELDS

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

SAMPLES = (
    Path(__file__).parents[3] / "shared" / "data" / "sparkpost-sample-events.json"
)  # third-party data, not ours to keep

BOUNCE = {
    "type": "bounce",
    "bounce_class": "10",
    "timestamp": "1700000000",
    "event_id": "b1",
    "rcpt_to": "Nobody+tag@Example.com",
    "raw_reason": "550 5.1.1 no such user",
    "error_code": "550",
}


@pytest.mark.skipif(not SAMPLES.exists(), reason="the vendor's samples are not part of the repository")
def test_the_vendors_own_samples_arrive_whole(tmp_path: Path) -> None:
    """Every sample is in message_events field for field, in its metrics, and in a batch."""
    samples = [next(iter(each["msys"].values())) for each in json.loads(SAMPLES.read_text())]
    with up(tmp_path) as system, listening() as batches:
        watch_everything(system, batches.target)
        sent = omni("send", str(SAMPLES), "--old", "--url", system.places["hose_url"], "--json")
        assert json.loads(sent.stdout)["accepted"] == len(samples)
        wait_until(lambda: len(batches.events()) >= len(samples), "all samples were delivered")
        wait_until(lambda: system.totals().message_events >= len(samples), "all samples are stored")
        wait_until(lambda: sum(system.totals().metrics_by_type.values()) >= len(samples), "all samples are counted")
        assert sorted_texts(stored(system)) == sorted_texts(expected(samples, stored(system)))
        assert sorted_texts(batches.events()) == sorted_texts(stored(system))
        assert system.totals().metrics_by_type == dict(Counter(each["type"] for each in samples))


def test_a_bounce_suppresses_and_is_found_everywhere(tmp_path: Path) -> None:
    """One event by POST: stored, counted, suppressed, delivered; the command line shows it; the second start keeps it."""
    with listening() as batches:
        with up(tmp_path) as system:
            watch_everything(system, batches.target)
            line = json.dumps(BOUNCE).encode()
            sent = subprocess.run(
                [sys.executable, "-m", "omni_etl", "send", "-", "--old", "--url", system.places["hose_url"]],
                input=line,
                check=True,
            )
            assert sent.returncode == 0
            wait_until(lambda: suppression(system) is not None, "the address is suppressed")
            found = suppression(system)
            assert found is not None
            assert (found["source"], found["type"], found["non_transactional"]) == (
                "Bounce Rule",
                "non_transactional",
                True,
            )
            wait_until(lambda: batches.events() == [BOUNCE], "it was delivered")
            wait_until(lambda: system.totals().metrics_by_type == {"bounce": 1}, "it is counted")
            status = omni("status", "--data", str(tmp_path), "--json")
            assert json.loads(status.stdout)["store"] == {"message_events": 1, "metrics": 1}
            assert "circuit" in omni("status", "--data", str(tmp_path)).stdout
            assert system.stop() == 0
        with up(tmp_path) as system:
            assert suppression(system) is not None
            assert system.totals().message_events == 1


def test_a_second_start_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    """In words, with the pid of the first, and without harm to it."""
    with up(tmp_path) as system:
        second = omni("up", "--data", str(tmp_path), check=False)
        assert second.returncode == 2
        assert f"another `omni up` runs (pid {system.process.pid})" in " ".join(second.stderr.split())
        assert system.totals().message_events == 0


@pytest.mark.parametrize("queue", ["sqlite", "sqs"])
def test_the_demo_agrees_with_itself(queue: str) -> None:
    """Exit code 0, and the last line as promised, whatever the queue."""
    run = omni("demo", "--events", "3000", "--json", "--queue", queue)
    line = json.loads(run.stdout.splitlines()[-1])
    assert line.pop("seconds") > 0
    assert line.pop("webhook_batches") >= 30
    assert line.pop("suppressions") > 0
    assert line == {
        "accepted": 3000, "message_events": 3000, "metrics": 3000, "webhook_events": 3000, "lost": 0, "doubled": 0,
    }  # fmt: skip


class Batches:
    """What a customer was sent, batch by batch."""

    def __init__(self, port: int) -> None:
        self.target = f"http://127.0.0.1:{port}/"
        self.bodies: dict[str, bytes] = {}

    def events(self) -> list[dict[str, Any]]:
        """All events, out of their wrapping."""
        elements = [element for body in list(self.bodies.values()) for element in json.loads(body)]
        return [event for element in elements for event in element["msys"].values()]


@contextmanager
def listening() -> Iterator[Batches]:
    """A customer's server that keeps bodies."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            batches.bodies[self.headers["X-MessageSystems-Batch-ID"]] = body
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    batches = Batches(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield batches
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def omni(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    command = [sys.executable, "-m", "omni_etl", *arguments]
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=120)


def stored(system: System) -> list[dict[str, Any]]:
    """Every event as the store keeps it."""
    rows = system.rows("SELECT hex(raw) FROM message_events WHERE marker_key = ''")
    return [orjson.loads(bytes.fromhex(raw)) for (raw,) in rows]


def expected(samples: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The samples in canonical form; one without an id has the id it was given."""
    ids = [event["event_id"] for event in found if event["type"] == "sms_status"]
    assert len(ids) == 1
    assert len(ids[0]) >= 16
    canonical = [
        {name: str(value) if name in STRING_FIELDS and type(value) is int else value for name, value in sample.items()}
        for sample in samples
    ]
    return [sample if "event_id" in sample else {**sample, "event_id": ids[0]} for sample in canonical]


def sorted_texts(found: list[dict[str, Any]]) -> list[bytes]:
    """For comparing without order."""
    return sorted(orjson.dumps(event, option=orjson.OPT_SORT_KEYS) for event in found)


def suppression(system: System) -> dict[str, Any] | None:
    """The entry of the bounced address, by the API."""
    try:
        [entry] = system.api("GET", "/api/v1/suppression-list/nobody+tag@example.com")["results"]
    except AssertionError:
        return None
    found: dict[str, Any] = entry
    return found
