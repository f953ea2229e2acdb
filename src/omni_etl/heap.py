"""Heap: how memory is kept in a process that takes and frees megabytes thousands of times a minute."""

from __future__ import annotations

import ctypes
import gc
import os
from typing import Final

# glibc's <malloc.h>. As it comes, each thread has an arena of its own, and every large buffer is asked from the kernel
# and given back, page by page (docs/decisions/0011, 0028).
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
M_MMAP_MAX: Final = -4
M_ARENA_MAX: Final = -8
MIB: Final = 1024 * 1024
# chDB brings a jemalloc that gives unused pages back after 5 s; ClickHouse's own name for the variable of that is this.
ENGINES_HEAP: Final = {"JE_MALLOC_CONF": "dirty_decay_ms:60000"}
YOUNG_OBJECTS_MAX: Final = 20_000  # Python's own is 700, of which an envelope's lines alone make a collection each


def keep_heap(*, kept_bytes: int = 16 * MIB, mapped_bytes: int | None = 8 * MIB) -> bool:
    """Keep freed memory for the next request, one heap for all threads. Whether the C library could be told: glibc can.

    `kept_bytes` stay free at the heap's end before they are given back; a buffer longer than `mapped_bytes` goes back at
    once (None: none does).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    mapping = (M_MMAP_MAX, 0) if mapped_bytes is None else (M_MMAP_THRESHOLD, mapped_bytes)
    wishes = ((M_ARENA_MAX, 1), mapping, (M_TRIM_THRESHOLD, kept_bytes))
    return all(mallopt(name, value) for name, value in wishes)


def keep_engines_heap() -> None:
    """Let chDB keep freed pages for a minute. Before it is imported, for it reads this once; what somebody set stands."""
    for name, value in ENGINES_HEAP.items():
        os.environ.setdefault(name, value)


def settle_heap() -> None:
    """What a process has made by now (all that is imported) is not looked through for cycles again, new objects in larger lots.

    A full collection would look through all of it: 0.1 s in which nobody is answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX)
