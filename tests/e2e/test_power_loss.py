"""Power loss in small: what was acknowledged had its fsync first, as the kernel saw it (strace)."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3
from tests.e2e.system import up, wait_until

from omni_etl.clock import SystemClock

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]

EVENT = b'{"type":"delivery","timestamp":"%d","event_id":"p1","rcpt_to":"a@example.com"}' % SystemClock().now()
CALLS = "fsync,fdatasync,write,writev,sendto,sendmsg"


def test_an_acknowledged_event_was_synced_at_every_stage(tmp_path: Path) -> None:
    """Spool record before the 200, queue row before its confirmation, part and directory before the insert's OK."""
    with up(tmp_path / "system") as system:
        pids = system.pids
        hose, store = tmp_path / "hose.strace", tmp_path / "store.strace"
        with traced(pids["hose"], hose), traced(pids["store"], store):
            answer = urllib3.request(
                "POST",
                system.places["hose_url"] + "/v1/events",
                body=EVENT,
                headers={"Content-Type": "application/json"},
            )
            assert answer.status == 200
            wait_until(lambda: system.totals().message_events == 1, "it is stored")
    assert_before(hose.read_text(), r"fdatasync\(\d+<.*\.spool>\)", r'"HTTP/1\.1 200')
    assert_before(hose.read_text(), r"f(data)?sync\(\d+<.*queue\.sqlite-wal>\)", r"$")
    calls = store.read_text()
    for name in ("data.bin", "checksums.txt"):
        assert_before(
            calls, rf"fdatasync\(\d+<.*/tmp_insert_[^/>]*/{re.escape(name)}>", r"fdatasync\(\d+<.*/\d{8}_\d+_\d+_0>"
        )
    assert_before(calls, r"fdatasync\(\d+<.*/\d{8}_\d+_\d+_0>", r'"HTTP/1\.1 200')


def assert_before(calls: str, first: str, then: str) -> None:
    """In the order of the kernel, `first` happened, and `then` came after it."""
    found = re.search(first, calls)
    assert found, f"{first} never happened:\n{calls[-3000:]}"
    assert re.search(then, calls[found.end() :]), f"{then} did not follow {first}:\n{calls[-3000:]}"


@contextmanager
def traced(pid: int, output: Path) -> Iterator[None]:
    """Write down a process's calls, all threads, with the names of files."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-y", "-s", "64", "-e", f"trace={CALLS}", "-o", str(output), "-p", str(pid)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tracer.stderr is not None
    line = tracer.stderr.readline()
    assert "attached" in line, line
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(timeout=20)
        tracer.stderr.close()
