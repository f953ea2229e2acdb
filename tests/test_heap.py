"""heap: freed memory is kept, one heap for all threads."""

import ctypes
import platform

import pytest

from omni_etl.heap import keep_heap


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_glibc_can_be_told() -> None:
    """And says that it understood."""
    assert keep_heap()


def test_another_c_library_keeps_its_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is only speed."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not keep_heap()
