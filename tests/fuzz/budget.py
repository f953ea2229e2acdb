"""How long a fuzzer looks, and the odd things it makes of good ones.

In `make check` a few examples a target, in `make fuzz` new ones for so many seconds a target (OMNI_FUZZ_SECONDS).
"""

import contextlib
import os
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SECONDS = float(os.environ.get("OMNI_FUZZ_SECONDS", "0"))
EXAMPLES = 150
MIB = 1024 * 1024
ODD_TEXTS = [
    "", "\0", "\ud800", "\udcff", "\U0010ffff", "-1", "0", "9" * 400, "1e400", "-0", "NaN", "١٢", "²", "+5", "1_000", " 7 ",
    "[" * 2000, '{"a":' * 2000, "a@" * 300, "é@bücher.example", "../../etc/passwd", "2026-13-45T99:99", "0001-01-01", "9999-12-31T23:59:59.999999",
]  # fmt: skip


def fuzz(**strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Make a fuzzer of a function: rounds of examples until its time is over, at least one round."""

    def decorate(target: Callable[..., None]) -> Callable[[], None]:
        # `database=None`: what is found is printed and kept as a test, not as a file of this machine.
        one_round = settings(
            max_examples=EXAMPLES,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )(given(**strategies)(target))

        def run() -> None:
            until = time.monotonic() + SECONDS  # noqa: TID251 a budget of real seconds
            one_round()
            while time.monotonic() < until:  # noqa: TID251 see above
                one_round()

        run.__name__, run.__doc__, run.__module__ = target.__name__, target.__doc__, target.__module__
        return pytest.mark.fuzz(pytest.mark.timeout(SECONDS + 300)(run))

    return decorate


def altered(whole: bytes) -> st.SearchStrategy[bytes]:
    """Some of it cut out, replaced, doubled or flipped; cut short; or as it is."""
    return st.lists(_change(len(whole)), max_size=4).map(lambda changes: _changed(whole, changes))


def odd_json(depth: int = 12) -> st.SearchStrategy[Any]:
    """Values of any kind, the odd ones more often than chance would have it."""
    leaves = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | odd_text()
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=depth,
    )


def odd_text() -> st.SearchStrategy[str]:
    """Texts that have broken parsers before, and any other."""
    return st.sampled_from(ODD_TEXTS) | st.text(max_size=60)


def without_surrogates(text: str) -> str:
    """As it can travel over a wire."""
    return text.encode("utf-8", "replace").decode()


@contextlib.contextmanager
def within_memory(bytes_max: int) -> Iterator[None]:
    """At no moment more than this is held beyond what was before."""
    tracemalloc.start()
    try:
        yield
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes <= bytes_max, f"{peak_bytes} bytes held; {bytes_max} are allowed"


@contextlib.contextmanager
def within_steps(lines_max: int) -> Iterator[None]:
    """So many lines of our code run at most: unlike seconds, the same on every machine."""
    count = 0

    def step(frame: FrameType, _event: str, _argument: Any) -> Any:
        nonlocal count
        if "omni_etl" not in frame.f_code.co_filename:
            return None
        count += 1
        return step

    before = sys.gettrace()
    sys.settrace(step)
    try:
        yield
    finally:
        sys.settrace(before)
    assert count <= lines_max, f"{count} lines run; {lines_max} are allowed"


_Change = tuple[str, int, int, bytes]


def _change(size: int) -> st.SearchStrategy[_Change]:
    kinds = st.sampled_from(["cut", "put", "flip", "double", "end"])
    return st.tuples(kinds, st.integers(0, max(0, size)), st.integers(1, 64), st.binary(max_size=24))


def _changed(whole: bytes, changes: list[_Change]) -> bytes:
    for kind, at, count, put in changes:
        if kind == "cut":
            whole = whole[:at] + whole[at + count :]
        elif kind == "put":
            whole = whole[:at] + put + whole[at + len(put) :]
        elif kind == "flip" and at < len(whole):
            whole = whole[:at] + bytes([whole[at] ^ 1 << count % 8]) + whole[at + 1 :]
        elif kind == "double":
            whole = whole[: at + count] + whole[at:]
        elif kind == "end":
            whole = whole[:at]
    return whole
