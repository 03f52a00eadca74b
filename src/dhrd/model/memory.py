"""The memory of a process that runs models: keeping freed memory for the next pass, and owning the weights."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from itertools import chain

from torch import nn

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # from glibc's malloc.h
_LARGEST_BLOCK_BYTES = 2**30
_NEVER = -1


@cache
def keep_freed_memory() -> bool:
    """Make glibc's allocator keep the memory of freed tensors, once for the whole process.

    A pass frees and allocates the same megabytes hundreds of times. By default glibc hands such blocks back to the
    system each time, which clears every page before it gives it again: a third of a pass of SmolLM2 in bf16 on a CPU
    with AMX, and a fifth of a training step. A thread's own heaps are returned whatever the thresholds, so threads
    started later get none of their own. The cost: the process keeps its peak memory, and more where sizes vary; see
    `return_freed_memory`.

    Returns:
        Whether it was done; False if the C library is not glibc.
    """
    library = _glibc()
    if library is None:
        return False
    wanted = {_M_MMAP_THRESHOLD: _LARGEST_BLOCK_BYTES, _M_TRIM_THRESHOLD: _NEVER, _M_ARENA_MAX: 1}
    return all([library.mallopt(*one) for one in wanted.items()])  # noqa: C419 (set all, even if one is refused)


def return_freed_memory() -> None:
    """Hand back to the system what glibc's allocator keeps of freed memory; elsewhere nothing happens.

    Batches differ in size, so that kept blocks fit the next one ever worse and the process grows: with SmolLM2 from 9
    to 15 GB in 45 updates of 64 rows. It takes a tenth of a second, and the next pass asks for its pages again.
    """
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    """The C library if it is glibc; to find out, Python reads its own executable."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def own_weights(model: nn.Module) -> None:
    """Copy weights into the process's own memory.

    On a CPU a loaded weight may be memory-mapped from its file: overwriting the file in place would change the model
    of a running server, and truncating it would kill the process.
    """
    for weight in chain(model.parameters(), model.buffers()):
        if weight.device.type == "cpu":
            weight.data = weight.data.clone()
