"""wiring.status: one picture of the system, whatever is away."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.wiring.conftest import Make

from omni_etl.clock import SystemClock
from omni_etl.wiring import status
from omni_etl.wiring.databases import build_registry
from omni_etl.wiring.opened import opened
from omni_etl.wiring.status import read_status

CLOSED_PORT = 1  # tcpmux: nobody listens there


@contextmanager
def answering(body: bytes, *, code: int = 200) -> Iterator[int]:
    """Something that is perhaps a hose."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_what_is_away_says_so_and_the_rest_is_shown(make_settings: Make) -> None:
    """A closed port, and a directory where a file stands; no secret in the reasons."""
    mine = make_settings(
        hose_port=CLOSED_PORT,
        store_url=f"http://default:hunter2@127.0.0.1:{CLOSED_PORT}/omni",
        database_url="sqlite:////dev/null/database",
    )
    seen = await read_status(mine)
    assert list(seen) == ["hose", "fleet", "queues", "outbox", "suppressions", "store"]
    assert {name for name, part in seen.items() if "away" in part} == set(seen) - {"queues"}
    assert "Connection refused" in seen["hose"]["away"]
    assert "the store is away" in seen["store"]["away"]
    assert "/dev/null/database/control.sqlite" in seen["fleet"]["away"]
    assert seen["queues"]["bulk"] == {"ready": 0, "leased": 0, "oldest_age_seconds": 0.0}
    assert "hunter2" not in str(seen)


async def test_an_engine_that_was_never_named_is_away_in_words(make_settings: Make) -> None:
    """The same sentence that refuses a start."""
    seen = await read_status(make_settings(hose_port=CLOSED_PORT))
    assert seen["store"]["away"].startswith("OMNI_STORE_URL: found nothing.")


@pytest.mark.usefixtures(
    "clickhouse"
)  # tables are there, as behind every running system: making them may take a busy disk long
async def test_everything_there(make_settings: Make, store_url: str) -> None:
    """Each part's own figures; a role's word with its age, a dead letter with its reason."""
    with answering(b'{"status":"refusing","spool_bytes":7}', code=503) as port:
        mine = make_settings(hose_port=port, store_url=store_url)
        async with opened(build_registry(mine, SystemClock())) as registry:
            await registry.register(["metrics"])
            await registry.report("run", "here-1", {"pid": 1, "services": {}})
            await registry.bury("metrics", "h-bulk-1", "why")
        seen = await read_status(mine)
    assert seen["hose"] == {"status": "refusing", "spool_bytes": 7}
    assert seen["store"] == {"message_events": 0, "metrics": 0}
    assert seen["suppressions"] == {"entries": 0}
    [role] = seen["fleet"]["roles"]
    assert (role["role"], role["instance"], role["pid"]) == ("run", "here-1", 1)
    assert 0 <= role["seen_seconds_ago"] < 60
    assert seen["fleet"]["dead_letters"][0]["reason"] == "why"
    assert {"express", "bulk", "siding-metrics", "dead-metrics"} <= seen["queues"].keys()


@pytest.mark.parametrize("body", [b"<html>", b"[]"])
async def test_something_else_on_the_hoses_port_is_no_hose(make_settings: Make, body: bytes) -> None:
    """It is said, and does not end the command."""
    with answering(body) as port:
        seen = await read_status(make_settings(hose_port=port))
    assert "HTTP 200, which is not a hose's answer" in seen["hose"]["away"]


async def test_one_that_hangs_is_not_waited_for(make_settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hose and a store that take connections and say nothing cost one limit, not two."""
    monkeypatch.setattr(status, "ANSWER_SECONDS_MAX", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        started = SystemClock().monotonic()
        seen = await read_status(make_settings(hose_port=port, store_url=f"http://default:x@127.0.0.1:{port}/omni"))
    assert SystemClock().monotonic() - started < 2
    assert seen["store"]["away"] == "no answer in 0.2 s"
    assert "away" in seen["hose"]
