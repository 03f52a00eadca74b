"""The throughput measure counts what it says."""

from __future__ import annotations

import pytest

from dhrd.benchmark import measure


def test_rates_are_queries_over_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 2.0, 10.0, 15.0, 20.0, 21.0])  # three repeats of 2, 5 and 1 seconds
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(ticks))
    calls = []
    found = measure.throughput(lambda: calls.append(1), 10, repeats=3, warmup=2)
    assert len(calls) == 5
    assert (found.median_qps, found.min_qps, found.max_qps) == (5.0, 2.0, 10.0)
