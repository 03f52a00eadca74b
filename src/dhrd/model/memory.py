"""The memory of a process that runs models: what it keeps of what a pass freed, and what is its own."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from itertools import chain

from torch import nn

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
_LARGEST_BLOCK_BYTES = 2**30
_MOST_KEPT_BYTES = 2**31 - 1


@cache
def keep_freed_memory() -> bool:
    """Tell glibc's allocator to keep what tensors give back. For the whole process, and once.

    A pass frees and allocates the same megabytes hundreds of times. By default glibc hands such blocks back to the
    system each time, which clears every page before it gives it again: a third of a pass of SmolLM2 in bf16 on a CPU
    with AMX. A thread's own heaps are handed back whatever the thresholds say, so threads that begin later have none of
    their own. The price: the process holds on to the most that it has used.

    Returns:
        Whether it was done; False where the C library is another one.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    wanted = {_M_MMAP_THRESHOLD: _LARGEST_BLOCK_BYTES, _M_TRIM_THRESHOLD: _MOST_KEPT_BYTES, _M_ARENA_MAX: 1}
    return all([mallopt(name, value) for name, value in wanted.items()])  # noqa: C419 (all are set, whatever is refused)


def own_weights(model: nn.Module) -> None:
    """Copy weights into the process's own memory.

    On a CPU a loaded weight may be a mapped part of its file: who overwrites the file in place then changes the model
    under a server that runs, and who shortens it ends the process.
    """
    for weight in chain(model.parameters(), model.buffers()):
        if weight.device.type == "cpu":
            weight.data = weight.data.clone()
