"""Timing with warm-up, repeats and spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Throughput:
    """Queries per second over repeats.

    Args:
        median_qps: The figure to quote.
        min_qps: Of the repeats.
        max_qps: Of the repeats.
        num_queries: In one repeat.
        num_repeats: After the warm-up.
    """

    median_qps: float
    min_qps: float
    max_qps: float
    num_queries: int
    num_repeats: int


def throughput(run: Callable[[], Any], num_queries: int, *, repeats: int = 3, warmup: int = 1) -> Throughput:
    """Time `run`, which answers `num_queries` queries, and give queries per second.

    Args:
        run: Does the whole work, from text to label.
        num_queries: Answered by one call.
        repeats: Timed calls.
        warmup: Calls before them that are not timed.
    """
    for _ in range(warmup):
        run()
    rates = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        rates.append(num_queries / (time.perf_counter() - began))
    return Throughput(statistics.median(rates), min(rates), max(rates), num_queries, repeats)
