"""The figures draw what the result says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dhrd.benchmark import plots
from dhrd.benchmark.result import BenchmarkResult

figure = pytest.importorskip("matplotlib.figure")
FILE = Path(__file__).resolve().parents[3] / "benchmarks" / "results" / "inference_boolq.json"


@pytest.fixture
def result() -> BenchmarkResult:
    return BenchmarkResult.model_validate(json.loads(FILE.read_text(encoding="utf-8"))["boolq"])


def test_every_batch_size_and_length_is_a_point(result: BenchmarkResult) -> None:
    batches, lengths = figure.Figure().subplots(1, 2)
    plots._against_batch_size(batches, result)
    plots._against_length(lengths, result)
    sweep = result.sweeps.batch_size
    assert list(batches.lines[0].get_xydata()[:, 0]) == [point.batch_size for point in sweep]
    assert list(batches.lines[0].get_xydata()[:, 1]) == [point.queries_per_second for point in sweep]
    levels = {line.get_label(): line.get_ydata()[0] for line in batches.lines[1:]}
    assert levels["dhrd.Classifier"] == result.contenders["dhrd"].queries_per_second.median
    assert len(levels) == 2
    drawn = {line.get_label(): list(line.get_ydata()) for line in lengths.lines}
    assert drawn["dhrd"] == [point.queries_per_second["dhrd"] for point in result.sweeps.length]
    assert set(drawn) == {"dhrd", "pipeline_1", "pipeline_32"}


@pytest.mark.parametrize(("name", "begins"), [("b.svg", b"<?xml"), ("b.png", b"\x89PNG")])
def test_the_ending_is_the_format(result: BenchmarkResult, tmp_path: Path, name: str, begins: bytes) -> None:
    plots.plot(result, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_a_cascade_is_a_curve(tmp_path: Path) -> None:
    point = {"queries_per_second": 5.0, "accuracy": 0.8, "accuracy_interval_95": [0.7, 0.9]}
    slow = point | {"queries_per_second": 0.5, "accuracy": 0.9}
    plots.plot_cascade({"curve": [point, slow], "threshold": 0.5} | point, tmp_path / "c.svg")
    assert "threshold 0.500" in (tmp_path / "c.svg").read_text(encoding="utf-8")
