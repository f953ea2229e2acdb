"""cli.demo: an end before the end. A whole run is in tests/e2e/test_path.py."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.system import wait_until


@pytest.mark.e2e
def test_ctrl_c_ends_it_soon_and_leaves_nothing(tmp_path: Path) -> None:
    """In the middle of sending: roles stop in order, the directory goes, and the exit code says interrupted."""
    process = subprocess.Popen(
        [sys.executable, "-m", "omni_etl", "demo", "--events", "5000000"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    try:
        wait_until(lambda: list(tmp_path.glob("omni-demo-*/hose/*")) != [], "the hose has its spool")
        wait_until(lambda: list(tmp_path.glob("omni-demo-*/up.json")) != [], "everything is up")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=40) == 130
        assert "Interrupted before the end." in process.stdout.read()
        assert list(tmp_path.glob("omni-demo-*")) == []
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
