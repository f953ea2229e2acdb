"""demo.usage: what a real process costs."""

import os
import subprocess
import sys

import pytest

from omni_etl.demo.usage import Usage, usage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

BURNS = "import time; held = bytearray(64 << 20); del held\nwhile time.process_time() < 0.2: pass\nprint(flush=True); input()"


def test_a_process_is_measured() -> None:
    """CPU seconds, memory now, and memory at most, which it gave back meanwhile."""
    with subprocess.Popen([sys.executable, "-c", BURNS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = usage(process.pid)
        process.kill()
    assert found is not None
    assert 0.15 <= found.cpu_seconds < 2
    assert 1 < found.resident_mib < 64 < found.resident_mib_max < 500


def test_a_process_that_is_gone_has_no_cost() -> None:
    """It may end while it is asked about."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert usage(process.pid) is None


def test_a_name_with_brackets_is_no_field() -> None:
    """The kernel puts the program's name between fields, as it is."""
    program = "import sys; open('/proc/self/comm', 'w').write('a) S 9 9 9'); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = usage(process.pid)
        process.kill()
    assert found is not None
    assert found.cpu_seconds < 2


def test_since_is_only_about_cpu() -> None:
    """Memory is not a difference; without a before, all is since the start."""
    later, before = Usage(3.0, 50.0, 70.0), Usage(1.0, 40.0, 60.0)
    assert later.since(before) == Usage(2.0, 50.0, 70.0)
    assert later.since(None) == later
    own = usage(os.getpid())
    assert own is not None
    assert own.resident_mib_max >= own.resident_mib
