"""Tables for people."""

from __future__ import annotations

from typing import Any

import pytest

from dhrd.benchmark.result import BenchmarkResult
from dhrd.cli.show import benchmark_table, cascade_table, metrics_table

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cell is wrapped."""
    monkeypatch.setenv("COLUMNS", "200")


def cells(text: str) -> list[list[str]]:
    """The cells of each line of a table."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]


METRICS: dict[str, Any] = {
    "accuracy": 0.75,
    "macro_f1": 0.5,
    "log_loss": 0.4,
    "official": ["accuracy"],
    "interval_95": {"accuracy": [0.6, 0.875], "macro_f1": None},
    "per_class": {"[/bug]": {"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 4}},
}


def test_metrics_with_their_intervals_then_each_class(capsys: Capsys) -> None:
    metrics_table(METRICS, "[b]validation[/b]")
    out = capsys.readouterr().out
    assert out.splitlines()[0].strip() == "[b]validation[/b]"
    assert cells(out) == [
        ["accuracy (official)", "0.750", "0.600 to 0.875"],
        ["macro_f1", "0.500", ""],
        ["log_loss", "0.400", ""],
        ["[/bug]", "1.000", "0.500", "0.667", "4"],
    ]


def test_what_makes_metrics_doubtful_is_said(capsys: Capsys) -> None:
    metrics_table(METRICS | {"absent": ["a", "b"], "selected_on": True}, "")
    last = capsys.readouterr().out.splitlines()[-2:]
    assert last[0] == "Neither gold nor predicted here, F1 0 in macro_f1: 'a', 'b'."
    assert last[1].startswith("The weights, or a temperature, were chosen on these very rows")


def threshold(value: float, asked: float) -> dict[str, Any]:
    return {
        "threshold": value,
        "share_asked": asked,
        "accuracy": 0.8,
        "accuracy_interval_95": [0.7, 0.9],
        "queries_per_second": 12.0,
        "relative_cost": 3.0,
    }


def test_the_chosen_threshold_is_marked_and_told(capsys: Capsys) -> None:
    curve = [threshold(index / 20, index / 20) for index in range(21)]
    chosen_on = {"num_rows": 50, "accuracy": 0.9, "relative_cost": 2.5}
    metrics = {"curve": curve, "chosen_on": chosen_on, **threshold(0.26, 0.29)}
    cascade_table({**metrics, "accuracy": 0.85, "interval_95": {"accuracy": [0.75, 0.95]}})
    out = capsys.readouterr().out
    marked = [row for row in cells(out) if row[0].endswith("*")]
    assert marked == [["0.260 *", "29%", "0.850", "0.750 to 0.950", "12.00", "3.0"]], "its own figures, no neighbour's"
    first = [row[0] for row in cells(out)]
    assert len(first) == 8 and first == sorted(first), "seven over the curve, and the chosen one in its place"
    cascade_table({**metrics, "threshold": 1.0, "interval_95": {"accuracy": [0.7, 0.9]}})
    assert len(cells(capsys.readouterr().out)) == 7, "which is one of them"
    assert "chosen on 50 other rows, where it has accuracy 0.900 at 2.5 times" in " ".join(out.split())


def contender(rate: float) -> dict[str, Any]:
    return {
        "title": "a way",
        "dtype": "float32",
        "batch_size": None,
        "queries_per_second": {"median": rate, "min": rate - 1, "max": rate + 1},
        "tokens_per_second": 20 * rate,
        "label_agreement": 0.99,
        "label_agreement_with": "dhrd",
        "accuracy": None,
        "memory": {"peak_memory_bytes": 5 * 2**20, "peak_increase_bytes": 3 * 2**20},
        "latency": {"p50_ms": 5.0, "p95_ms": 6.0, "p99_ms": 7.0, "num_requests": 4},
    }


def benchmark_result() -> BenchmarkResult:
    agreement = {"label_agreement": 1.0, "max_probability_difference": 1e-6}
    conditions = {"device": "cpu", "threads": 1, "capability": None, "load_average_1_min": 0.5, "versions": {}}
    work = {"padding_ratio": 1.1, "sharing_ratio": 2.0, "num_needed_tokens": 100, "num_run_tokens": 120}
    roofline = {
        "num_rows": 10,
        "flops_needed": 1e9,
        "forward_flops_per_second": 2e9,
        "needed_tokens_per_second": 10.0,
        "matmul_flops_per_second": 5e9,
        "matmul_flops_per_second_at_own_shapes": 2.5e9,
        "share_of_matmul_rate": 0.4,
        "share_of_matmul_rate_at_own_shapes": 0.8,
    }
    return BenchmarkResult.model_validate(
        {
            "rows": {"num_rows": 10, "num_tokens": 200, "mean_tokens": 20.0, "max_input_tokens": 64},
            "contenders": {"dhrd": contender(100.0), "loop": contender(20.0) | {"memory": None}},
            "dhrd_over": {"loop": {"median": 5.0, "min": 4.0, "max": 6.0}},
            "pipeline_best_batch_size": None,
            "work": work | {"num_passes": 3},
            "roofline": roofline,
            "sweeps": {"batch_size": [], "length": []},
            "parity": {"num_rows": 10, "dtype": "float32", "against": "float32", "as_run": agreement}
            | {"without_sharing": agreement},
            "conditions": conditions | {"dtype": "float32"},
        }
    )


def test_a_benchmark_says_who_was_measured_and_what_was_computed(capsys: Capsys) -> None:
    benchmark_table(benchmark_result())
    out = capsys.readouterr().out
    assert cells(out) == [
        ["dhrd", "100.0 (99.0–101.0)", "", "5/6/7", "99.0%", "+3"],
        ["loop", "20.0 (19.0–21.0)", "5.00", "5/6/7", "99.0%", "?"],
    ]
    assert "sharing 2.00: 120 positions run for 200 tokens in 3 passes." in out
    assert "The forward pass does 2 GFLOP/s of needed work: 40% of" in out
    assert "same label on 100.0%, probabilities within 1e-06." in out
