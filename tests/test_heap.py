"""heap: freed memory is kept, one heap for all threads."""

import ctypes
import gc
import os
import platform
import subprocess
import sys
from collections.abc import Iterator

import pytest

from omni_etl.heap import ENGINES_HEAP, keep_engines_heap, keep_heap, settle_heap

FAULTS = """
import resource, sys
from omni_etl import heap
heap.ENGINES_HEAP = {name: sys.argv[1] or value for name, value in heap.ENGINES_HEAP.items()}
heap.keep_engines_heap()
import chdb
connection = chdb.connect(":memory:")
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    connection.query("SELECT length(groupArray(toString(number))) FROM numbers(1000000)")
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(min(faults() for _ in range(12)))  # the least: on another core jemalloc begins anew
"""


@pytest.fixture
def collector() -> Iterator[None]:
    """As it was, afterwards."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_glibc_can_be_told() -> None:
    """And says that it understood."""
    assert keep_heap()


def test_another_c_library_keeps_its_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is only speed."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not keep_heap()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_buffers_of_any_length_may_be_kept() -> None:
    """Glibc understands that too."""
    asked = (
        "from omni_etl.heap import keep_heap; assert keep_heap(mapped_bytes=None)"  # elsewhere: it cannot be taken back
    )
    subprocess.run([sys.executable, "-c", asked], check=True)


def test_what_somebody_set_for_the_engine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what nobody said is said."""
    [(name, ours)] = ENGINES_HEAP.items()
    monkeypatch.delenv(name, raising=False)
    keep_engines_heap()
    assert os.environ[name] == ours
    monkeypatch.setenv(name, "dirty_decay_ms:1")
    keep_engines_heap()
    assert os.environ[name] == "dirty_decay_ms:1"


def test_the_engine_reads_it() -> None:
    """Told in the same way to give pages back at once, it asks the kernel for the same memory with every statement."""

    def faults(value: str) -> int:
        environment = {name: text for name, text in os.environ.items() if name not in ENGINES_HEAP}
        command = [sys.executable, "-c", FAULTS, value]
        return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)

    assert faults("") * 3 < faults("dirty_decay_ms:0")


@pytest.mark.usefixtures("collector")
def test_what_is_there_is_not_looked_through_again() -> None:
    """And garbage in cycles still goes."""
    settle_heap()
    assert gc.get_freeze_count() > 1000
    ring: list[object] = []
    ring.append(ring)
    del ring
    assert gc.collect() >= 1
