"""Heap: how the C library keeps memory in a process that takes and frees megabytes thousands of times a minute."""

from __future__ import annotations

import ctypes
from typing import Final

# glibc's <malloc.h>. As it comes, each thread has an arena of its own, and every large buffer is asked from the kernel
# and given back, page by page (docs/decisions/0011).
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
MIB: Final = 1024 * 1024


def keep_heap(*, kept_bytes: int = 16 * MIB, mapped_bytes: int = 8 * MIB) -> bool:
    """Keep freed memory for the next request, one heap for all threads. Whether the C library could be told: glibc can.

    `kept_bytes` stay free at the heap's end before they are given back; a buffer longer than `mapped_bytes` goes back at once.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wishes = ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, mapped_bytes), (M_TRIM_THRESHOLD, kept_bytes))
    return all(mallopt(name, value) for name, value in wishes)
