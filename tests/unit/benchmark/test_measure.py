"""Measures count what they say."""

from __future__ import annotations

import mmap
import sys

import pytest
import torch

from dhrd.benchmark import measure
from dhrd.benchmark.result import Spread


def test_rates_are_queries_over_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 2.0, 10.0, 15.0, 20.0, 21.0])  # three repeats of 2, 5 and 1 seconds
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(ticks))
    calls: list[int] = []
    rates = measure.spread(10 / measure.timed(calls.append, 1)[0] for _ in range(3))
    assert len(calls) == 3
    assert rates == Spread(median=5.0, min=2.0, max=10.0)


def test_latency_is_percentiles_of_single_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = [0.1 * number for number in range(1, 101)]
    ticks = iter([tick for end in ends for tick in (0.0, end)])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(ticks))
    asked: list[int] = []
    found = measure.latency(asked.append, range(100))
    assert asked == [0, *range(100)]
    assert found.num_requests == 100
    assert found.p50_ms == pytest.approx(5050)
    assert found.p99_ms == pytest.approx(9901)


def touch(num_bytes: int) -> None:
    """Take memory from the system, not from what an allocator has kept, and give it back."""
    with mmap.mmap(-1, num_bytes) as block:
        block.write(b"x" * num_bytes)


def test_peak_memory_sees_what_was_freed_again() -> None:
    size = 64 * 2**20
    found = measure.peak_memory(touch, size, torch.device("cpu"))
    if found is None:
        pytest.skip("this system cannot forget a peak")
    assert size * 0.9 < found.peak_increase_bytes < size * 2.5
    assert found.peak_memory_bytes > size
    again = measure.peak_memory(lambda _: None, size, torch.device("cpu"))
    assert again is not None
    assert again.peak_increase_bytes < size / 2


def test_spread() -> None:
    assert measure.spread([3.0, 1.0, 10.0]) == Spread(median=3, min=1, max=10)


def test_time_is_shared_out_among_kinds_of_operators(capfd: pytest.CaptureFixture[str]) -> None:
    a, q = torch.randn(700, 700), torch.randn(4, 2, 300, 16)

    def attend() -> None:
        torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)

    kinds = {"matrix_products": lambda: a @ a, "attention": attend, "rest": lambda: a.exp().log().sin()}
    for kind, run in kinds.items():
        run()
        found = measure.time_share(run, torch.device("cpu"))
        assert sum(found.time_share.values()) == pytest.approx(1)
        assert max(found.time_share, key=found.time_share.__getitem__) == kind
        assert sum(found.operator_time_share.values()) <= 1 + 1e-9
    print("heard", file=sys.stderr)
    assert capfd.readouterr().err == "heard\n"
