"""Work of the model that does not slow down the engine's thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dhrd.model.memory import keep_freed_memory

Result = TypeVar("Result")


def in_own_thread(work: Callable[[], Result]) -> Result:
    """Do something in a thread that ends with it.

    OpenMP gives each thread that computes workers of its own, which stay while it lives. As soon as all threads'
    workers together are more than the cores, libgomp lets them sleep between two loops, and each of the many loops of a
    pass has to wake them: passes take 1.3 times as long. So while the engine's thread lives, no other may have computed
    and live.

    Args:
        work: Its exception is raised here.
    """
    keep_freed_memory()  # before the thread begins
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()
