"""Keeping freed memory, so that every forward pass does not ask the system for the same pages anew."""

from __future__ import annotations

import ctypes
import platform
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_LARGEST_BLOCK_BYTES = 2**30
_MOST_KEPT_BYTES = 2**31 - 1


@cache
def keep_freed_memory() -> bool:
    """Tell glibc's allocator to keep what tensors give back. For the whole process, and once.

    A pass frees and allocates the same megabytes hundreds of times. By default glibc hands such blocks back to the
    system each time, which clears every page before it gives it again: a third of a pass of SmolLM2 in bf16 on a CPU
    with AMX. The price: the process holds on to the most that it has used.

    Returns:
        Whether it was done; False where the C library is another one.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK_BYTES) and mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT_BYTES))
