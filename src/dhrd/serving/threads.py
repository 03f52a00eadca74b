"""Running the model in other threads without slowing down the engine's thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dhrd.model.memory import keep_freed_memory

Result = TypeVar("Result")


def in_own_thread(work: Callable[[], Result]) -> Result:
    """Run a function in a thread that ends with it.

    OpenMP gives each computing thread its own workers, which stay as long as the thread does. Once there are more of
    them in total than cores, libgomp puts them to sleep between loops, and each of the many loops of a pass has to wake
    them, so that passes take 1.3 times as long. So no other thread that has computed may stay alive beside the
    engine's.

    Args:
        work: The function; an exception in it is raised here.
    """
    keep_freed_memory()  # before the thread starts
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()
