"""Processes that run cells, each with what it has loaded."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import torch

from dhrd._text import message_of
from dhrd.errors import DhrdError, is_out_of_memory
from dhrd.experiments.cache import Cache
from dhrd.experiments.cell_result import CellResult
from dhrd.experiments.cells import Cell
from dhrd.experiments.run_cell import run_cell

Submit = Callable[[Cell], Future[CellResult]]
"""Has a cell run, here or elsewhere, now or later."""


class WorkerDied(DhrdError):
    """A process ended without an error; the others in the pool end with it."""


class CellTooLarge(DhrdError):
    """Memory ran out in one cell; the others go on."""


def in_process(cache: Cache) -> Submit:
    """Runs a cell in this process, as it is submitted."""

    def submit(cell: Cell) -> Future[CellResult]:
        future: Future[CellResult] = Future()
        try:
            future.set_result(run_cell(cell, cache))
        except Exception as error:
            future.set_exception(error)
        return future

    return submit


@contextmanager
def workers(jobs: int, cache: Cache, threads: int | None = None) -> Iterator[Submit]:
    """Processes that run cells. They are ended on exit, whatever they are doing.

    Args:
        jobs: Number of processes.
        cache: The cache, whose device and places they use too.
        threads: Threads of each process; None: its share of the cores.
    """
    context = multiprocessing.get_context("spawn")  # a forked torch hangs in its threads
    threads = threads or max(1, (os.cpu_count() or 1) // jobs)
    others = set(multiprocessing.active_children())
    start = (cache.device, cache.places, threads)
    pool = ProcessPoolExecutor(jobs, context, initializer=_start, initargs=start)
    try:
        yield lambda cell: pool.submit(_run_in_worker, cell)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()


def result_of(future: Future[CellResult]) -> CellResult:
    """The result of a worker's cell; raises what running it raised.

    Raises:
        WorkerDied: The process is gone.
        CellTooLarge: Memory ran out, here or on the GPU.
    """
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise WorkerDied(
            "a worker process died, probably for lack of memory; finished cells are kept: run the same command again "
            "with a smaller `jobs`"
        ) from error
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise CellTooLarge(
            f"memory ran out ({message_of(error)}): run the same command again with a smaller `jobs`, or with "
            "`training.max_tokens_per_micro_batch` at 2048, say"
        ) from error


_cache: Cache | None = None  # of a worker process


def _run_in_worker(cell: Cell) -> CellResult:
    """Run a cell with what this process has loaded."""
    assert _cache is not None
    return run_cell(cell, _cache)


def _start(device: str | None, places: Mapping[str, str], threads: int) -> None:
    global _cache
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _cache = Cache(_device_of_worker(device), places)


def _end_with_parent() -> None:
    """A killed parent cannot end its workers: without this they would wait for work forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _device_of_worker(device: str | None) -> str | None:
    """Workers take turns over the GPUs where there are several."""
    if device in (None, "cuda") and torch.cuda.device_count() > 1:
        return f"cuda:{os.getpid() % torch.cuda.device_count()}"
    return device
