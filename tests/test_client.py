"""client: `from omni_etl import Hose`."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.hose.hoses import event
from tests.hose.served import served

from omni_etl import Hose
from omni_etl.client import Rejected, SendReport
from omni_etl.errors import SendError


@dataclass
class _Script:
    """What the server answers, one after the other; the last for ever. None: hang up without an answer."""

    answers: list[tuple[int, dict[str, str], bytes] | None]
    keys: list[str] = field(default_factory=list)


@contextmanager
def _scripted(script: _Script) -> Iterator[str]:
    class _Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            script.keys.append(self.headers["Idempotency-Key"])
            answer = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
            if answer is None:
                self.close_connection = True
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name in the standard library
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _hose(url: str, waits: list[float], **kwargs: Any) -> Hose:
    hose = Hose(url, **kwargs)

    def _pause(seconds: float) -> bool:
        waits.append(seconds)
        return False

    hose._pause = _pause
    return hose


OK: tuple[int, dict[str, str], bytes] = (200, {}, b'{"accepted":1,"rejected":[]}')


def test_events_of_any_kind_arrive(tmp_path: Path) -> None:
    """Mappings, bytes and text, also over several lines; the bad ones are named by their place in the whole."""
    events = [orjson.loads(event(number)) for number in range(2_500)]
    mixed = [
        *events,
        event(2_500),
        event(2_501).decode(),
        "{",
        "",
        orjson.dumps(events[0] | {"event_id": "x"}, option=orjson.OPT_INDENT_2),
    ]
    with served(tmp_path) as running, Hose(running.url) as hose:
        report = hose.send(iter(mixed))
    assert (report.accepted, report.rejected_count) == (2_503, 1)
    assert [each.line for each in report.rejected] == [2_503]
    assert len(running.queue.lines()) == 2_503


def test_one_key_is_kept_over_all_tries_of_a_request() -> None:
    """Whatever went wrong: no answer, an overloaded server, a full spool."""
    waits: list[float] = []
    script = _Script([None, (502, {}, b""), (503, {"Retry-After": "7"}, b""), OK])
    with _scripted(script) as url, _hose(url, waits) as hose:
        assert hose.send([event(1)]) == SendReport(1, (), 0)
        hose.send([event(2)])
    assert len(set(script.keys[:4])) == 1
    assert script.keys[4] != script.keys[3]
    assert len(waits) == 3
    assert waits[2] == 7
    assert max(waits[:2]) < 1


def test_nothing_is_tried_for_ever() -> None:
    """The last status is told."""
    waits: list[float] = []
    with _scripted(_Script([(503, {"Retry-After": "100000"}, b"full")])) as url, _hose(url, waits, tries_max=3) as hose:
        with pytest.raises(SendError, match=r"HTTP 503: full \(3 tries\)") as caught:
            hose.send([event(1)])
        assert caught.value.status == 503
    assert waits == [60, 60]


def test_a_hose_that_is_not_there_is_an_error_of_ours() -> None:
    """With no status."""
    with _scripted(_Script([OK])) as url:
        pass
    with _hose(url, [], tries_max=2) as hose, pytest.raises(SendError, match="no answer") as caught:
        hose.send([event(1)])
    assert caught.value.status is None


@pytest.mark.parametrize("url", ["", "nowhere", "ftp://127.0.0.1", "http://"])
def test_an_address_that_is_none_fails_at_once(url: str) -> None:
    """Waiting cannot heal it."""
    with pytest.raises(SendError, match="no address"):
        Hose(url)


def test_a_request_refused_as_a_whole_is_not_tried_again() -> None:
    """It would be refused again."""
    script = _Script([(413, {}, b'{"errors":[]}')])
    with _scripted(script) as url, _hose(url, []) as hose, pytest.raises(SendError, match="HTTP 413"):
        hose.send([event(1)])
    assert len(script.keys) == 1


def test_nothing_valid_is_a_report_not_an_error(tmp_path: Path) -> None:
    """400 with reasons says as much as 200 with reasons."""
    with served(tmp_path) as running, Hose(running.url) as hose:
        report = hose.send([{"type": "nonsense", "timestamp": "1"}])
    assert report == SendReport(0, (Rejected(1, "unknown event type 'nonsense'"),), 1)


def test_nothing_but_blank_text_sends_nothing(tmp_path: Path) -> None:
    """The hose would have no event to answer about."""
    with served(tmp_path) as running, Hose(running.url) as hose:
        assert hose.send(["", b" \n"]) == SendReport(0, (), 0)


def test_threads_may_share_one(tmp_path: Path) -> None:
    """Each event arrives once."""
    lines = [event(number) for number in range(400)]
    with served(tmp_path) as running, Hose(running.url, connections=4) as hose, ThreadPoolExecutor(8) as pool:
        parts = [lines[start : start + 20] for start in range(0, 400, 20)]
        assert sum(report.accepted for report in pool.map(hose.send, parts)) == 400
    counts: dict[bytes, int] = defaultdict(int)
    for line in running.queue.lines():
        counts[line] += 1
    assert counts == dict.fromkeys(lines, 1)


def test_who_waits_can_be_told_to_give_up() -> None:
    """So that Ctrl-C ends at once."""
    with _scripted(_Script([(503, {"Retry-After": "60"}, b"")])) as url, Hose(url) as hose:
        hose.give_up()
        with pytest.raises(SendError, match="given up"):
            hose.send([event(1)])


@pytest.mark.parametrize("body", [b'{"a":' + b"[" * 100_000, b'{"accepted":1,"rejected":[{"line":1,"reason":"\xff"}]}'])
def test_an_answer_that_is_none_is_an_error_that_is_known(body: bytes) -> None:
    """Whatever speaks at the address of a hose."""
    with _scripted(_Script([(200, {}, body)])) as url, Hose(url) as hose, pytest.raises(SendError):
        hose.send([event(1)])
