"""Heap: how the C library keeps memory in a process that takes and frees megabytes thousands of times a minute."""

from __future__ import annotations

import ctypes
from typing import Final

# glibc's <malloc.h>. As it comes, each thread has an arena of its own, and every large buffer is asked from the kernel
# and given back, page by page (docs/decisions/0011).
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
KEPT_BYTES: Final = 16 * 1024 * 1024  # free at the heap's end, before it is given back
MAPPED_BYTES: Final = 8 * 1024 * 1024  # a longer buffer still goes back at once


def keep_heap() -> bool:
    """Keep freed memory for the next request, one heap for all threads. Whether the C library could be told: glibc can."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wishes = ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, MAPPED_BYTES), (M_TRIM_THRESHOLD, KEPT_BYTES))
    return all(mallopt(name, value) for name, value in wishes)
