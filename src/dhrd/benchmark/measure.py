"""Timing with warm-up, repeats and spread; latency; peak memory; where the time goes."""

from __future__ import annotations

import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from dhrd.benchmark.result import Latency, Memory, Spread, TimeShare

T = TypeVar("T")

_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def timed(run: Callable[..., T], *arguments: object) -> tuple[float, T]:
    """The duration of one call, in seconds, and its result."""
    began = time.perf_counter()
    answer = run(*arguments)
    return time.perf_counter() - began, answer


def spread(values: Iterable[float]) -> Spread:
    """Median and extremes of repeats."""
    rates = list(values)
    return Spread(median=statistics.median(rates), min=min(rates), max=max(rates))


def latency(run_one: Callable[[T], object], rows: Sequence[T]) -> Latency:
    """Percentiles of single requests, one row a call, of at least one; a first, which warms up, is not counted."""
    run_one(rows[0])
    taken_ms = [1000 * timed(run_one, row)[0] for row in rows]
    p50, p95, p99 = np.percentile(taken_ms, [50, 95, 99])
    return Latency(p50_ms=float(p50), p95_ms=float(p95), p99_ms=float(p99), num_requests=len(rows))


def peak_memory(run: Callable[[T], object], argument: T, device: torch.device) -> Memory | None:
    """The peak memory use while `run` runs.

    Args:
        run: The function to measure.
        argument: Its argument.
        device: "cuda": memory allocated by torch. "cpu": resident memory of this process, if the system can reset an
            earlier peak (Linux).

    Returns:
        The memory, or None if it cannot be measured.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run(argument)
        peak = torch.cuda.max_memory_allocated(device)
    elif device.type == "cpu" and _forget_peak():
        before = _resident_bytes("VmRSS")
        run(argument)
        peak = _resident_bytes("VmHWM")
    else:
        return None
    return Memory(peak_memory_bytes=peak, peak_increase_bytes=max(0, peak - before))


_NUM_OPERATORS = 8  # listed by name
_KINDS = {
    "matrix_products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::linear", "mkldnn", "gemm", "nvjet", "cutlass"),
    "attention": ("scaled_dot_product", "flash_attention", "fmha", "aten::_softmax"),
}


def time_share(run: Callable[[], object], device: torch.device) -> TimeShare:
    """Where a warmed-up call's time goes, by torch's profiler: each operator's own, on the device that computes."""
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with _silent_stderr(), profile(activities=activities) as profiler:
        run()
    taken = {
        event.key: event.self_device_time_total if on_gpu else event.self_cpu_time_total
        for event in profiler.key_averages()
    }
    whole = sum(taken.values()) or 1
    kinds = dict.fromkeys((*_KINDS, "rest"), 0.0)
    for name, spent in taken.items():
        kinds[next((kind for kind, parts in _KINDS.items() if any(part in name for part in parts)), "rest")] += spent
    longest = sorted(taken, key=taken.__getitem__, reverse=True)[:_NUM_OPERATORS]
    return TimeShare(
        time_share={kind: spent / whole for kind, spent in kinds.items()},
        operator_time_share={name: taken[name] / whole for name in longest},
    )


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Silence stderr, where the profiler's library announces itself, below Python."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _forget_peak() -> bool:
    try:
        _RESET.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _resident_bytes(name: str) -> int:
    line = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text(encoding="ascii"))
    assert line is not None
    return 1024 * int(line.group(1))
