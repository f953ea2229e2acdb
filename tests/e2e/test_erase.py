"""Erasing one recipient from a running system: what is stored, what is under way, what waits for a customer, what comes later."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.system import System, up, wait_until, watch_everything

from omni_etl.client import Hose

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

GONE, STAYS = "gone@example.com", "stays@example.com"


class Customer:
    """Refuses batches until it is told to take them; keeps the recipients and ids of what it took."""

    def __init__(self, port: int) -> None:
        self.target = f"http://127.0.0.1:{port}/"
        self.takes = threading.Event()
        self.batches: dict[str, list[str]] = {}
        self.refused: set[str] = set()

    def recipients(self) -> Counter[str]:
        """Of all events that it took."""
        return Counter(each for batch in list(self.batches.values()) for each in batch)

    def answer(self, batch_id: str, body: bytes) -> int:
        """What it says to one batch; the test of a target holds no event."""
        events = [event for element in json.loads(body) for event in element["msys"].values()]
        if events and not self.takes.is_set():
            self.refused.add(batch_id)
            return 503
        self.batches[batch_id] = [event["rcpt_to"] for event in events]
        return 200


@contextmanager
def refusing() -> Iterator[Customer]:
    """A customer's server."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(customer.answer(self.headers["X-MessageSystems-Batch-ID"], body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    customer = Customer(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield customer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def event(who: str, *, seconds_ago: float = 0.0, type_name: str = "delivery", **fields: str) -> dict[str, Any]:
    """One event about them."""
    at = int(time.time() - seconds_ago)  # noqa: TID251 real processes have real time
    return {"type": type_name, "timestamp": str(at), "rcpt_to": who, **fields}


def omni(*arguments: str) -> subprocess.Popen[str]:
    """The command line, begun."""
    return subprocess.Popen([sys.executable, "-m", "omni_etl", *arguments], stdout=subprocess.PIPE, text=True)


def stored(system: System) -> Counter[str]:
    """Events in the store by recipient."""
    rows = system.rows("SELECT lower(rcpt_to), count() FROM message_events WHERE marker_key = '' GROUP BY 1")
    return Counter({who: int(count) for who, count in rows})


def test_nothing_about_a_recipient_is_kept(tmp_path: Path) -> None:
    """Events before and on their way go, out of batches too; older ones that come later are left out; nobody else is touched."""
    with up(tmp_path) as system, refusing() as customer, Hose(system.places["hose_url"]) as hose:
        watch_everything(system, customer.target)
        bounce = event("Gone@Example.com", type_name="bounce", bounce_class="10", raw_reason="550 no such user")
        hose.send([event(GONE), event(STAYS), event(GONE), bounce])
        wait_until(lambda: stored(system) == {GONE: 3, STAYS: 1}, "they are stored")
        wait_until(lambda: system.suppressions() == 1, "the bounce suppresses")
        wait_until(lambda: len(customer.refused) >= 1, "a batch waits")

        child = system.pids["message_events"]
        os.kill(child, signal.SIGSTOP)
        hose.send([event(GONE), event(STAYS)])
        wait_until(lambda: len(customer.refused) >= 2, "these are under way")
        erasing = omni("erase", GONE.upper(), "--suppressions", "--data", str(tmp_path), "--json")
        with pytest.raises(subprocess.TimeoutExpired):
            erasing.wait(8)  # a child may still write what it was given before it could hear
        os.kill(child, signal.SIGCONT)
        said, _ = erasing.communicate(timeout=90)
        [receipt] = json.loads(said)
        assert (erasing.returncode, receipt["suppressions"]) == (0, 1)
        assert receipt["events"] in {3, 4}  # the child may hear of it before it begins
        assert receipt["batch_events"] == 4
        assert "gone" not in said.lower()
        assert stored(system) == {STAYS: 2}
        assert system.suppressions() == 0

        hose.send([event(GONE, seconds_ago=3_600), event(STAYS, seconds_ago=3_600), event(GONE, seconds_ago=-1)])
        wait_until(lambda: stored(system) == {GONE: 1, STAYS: 3}, "only what is newer is stored")
        counted = system.totals().metrics_by_type
        wait_until(
            lambda: system.totals().metrics_by_type == {"delivery": 7, "bounce": 1}, "and counted", lambda: counted
        )
        customer.takes.set()

        def all_arrived() -> bool:
            system.try_again()
            return sum(customer.recipients().values()) >= 4

        wait_until(all_arrived, "batches arrive, those that were rewritten, too")
        assert customer.recipients() == {GONE: 1, STAYS: 3}
        receipts = omni("erase", "--receipts", "--data", str(tmp_path), "--json").communicate(timeout=30)[0]
        assert [each["id"] for each in json.loads(receipts)] == [receipt["id"]]
