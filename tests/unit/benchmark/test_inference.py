"""`dhrd benchmark` on a tiny artifact: what it measures agrees with itself; what it cannot measure it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dhrd
from dhrd import DataError
from dhrd.benchmark import contenders
from dhrd.benchmark.contenders import BenchmarkRows, Contender, Lineup
from dhrd.benchmark.inference import benchmark
from dhrd.benchmark.result import BenchmarkResult
from dhrd.benchmark.settings import Settings
from dhrd.run.rows import rows_of
from helpers.runs import make_config, run_here

Capsys = pytest.CaptureFixture[str]
NUM_ROWS = 9


@pytest.fixture(scope="module")
def artifact(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("benchmark")
    return dhrd.train(make_config(tiny_backbone, directory, "training.num_epochs=1")).output_dir


def measured(artifact: Path, **settings: Any) -> BenchmarkResult:
    some = {"against": (), "batch_sizes": (1, 4), "repeats": 1, "warmup_rows": 2, "latency_rows": 3}
    return benchmark(artifact, rows_of(artifact), Settings(**some | settings), device="cpu", dtype="float32")


def test_the_command_measures_all_and_ends_in_json(artifact: Path, tmp_path: Path, capsys: Capsys) -> None:
    flags = ["--against", "pipeline,loop,cot", "--batch-sizes", "1,2,4", "--repeats", 1, "--warmup-rows", 2]
    flags += ["--latency-rows", 3, "--cot-rows", 3, "--max-new-tokens", 6, "--parity", "--dtype", "float32"]
    files = ["--json", tmp_path / "b.json", "--plot", tmp_path / "b.svg"]
    ended = run_here(capsys, "benchmark", "--model", artifact, "--device", "cpu", *flags, *files)
    assert ended.code == 0, ended.err
    result = json.loads(ended.out.splitlines()[-1])
    assert result == json.loads((tmp_path / "b.json").read_text())
    assert (tmp_path / "b.svg").read_text().lstrip().startswith("<?xml")

    assert result["rows"]["num_rows"] == NUM_ROWS
    found = result["contenders"]
    assert {"dhrd", "pipeline_1", "pipeline_default", "loop"} <= set(found)
    qps, accuracy = (
        found["dhrd"]["queries_per_second"]["median"],
        dhrd.evaluate(artifact, device="cpu").metrics["accuracy"],
    )
    for name, one in found.items():
        assert one["label_agreement"] == 1, name
        assert one["accuracy"] == accuracy, name
        assert 0 < one["latency"]["p50_ms"] <= one["latency"]["p95_ms"] <= one["latency"]["p99_ms"]
        if name != "dhrd":
            expected = qps / one["queries_per_second"]["median"]
            assert result["dhrd_over"][name]["median"] == pytest.approx(expected)
    assert [one["batch_size"] for one in result["sweeps"]["batch_size"]] == [1, 2, 4]
    assert result["pipeline_best_batch_size"] in (1, 2, 4)
    assert result["work"]["padding_ratio"] >= 1
    assert result["work"]["num_needed_tokens"] * result["work"]["sharing_ratio"] == pytest.approx(
        result["rows"]["num_tokens"]
    )
    roofline = result["roofline"]
    reached = roofline["forward_flops_per_second"] / roofline["matmul_flops_per_second"]
    assert roofline["share_of_matmul_rate"] == pytest.approx(reached)
    assert sum(roofline["time_share"].values()) == pytest.approx(1)
    assert roofline["time_share"]["matrix_products"] > 0
    for kind in ("as_run", "without_sharing"):
        assert result["parity"][kind]["label_agreement"] == 1
        assert result["parity"][kind]["max_probability_difference"] < 1e-5
    assert set(result["decoding"]) == {"cot_1", "cot_4", "cot_16"}
    for way in result["decoding"].values():
        assert way["num_rows"] == 3
        assert way["mean_new_tokens"] <= 6
        assert way["dhrd_over_it"] == pytest.approx(qps / way["queries_per_second"])
    assert result["conditions"]["dtype"] == "float32"
    assert result["conditions"]["settings"]["cot_rows"] == 3
    json.dumps(result, allow_nan=False)


def test_a_contender_that_is_wrong_is_seen(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loop(lineup: Lineup) -> Iterator[Contender]:
        (one,), names = contenders.loop(lineup), lineup.classifier.labels.names

        def run(rows: BenchmarkRows) -> list[str]:
            said = one.run(rows)
            return [next(name for name in names if name != said[0]), *said[1:]]

        yield replace(one, run=run)

    monkeypatch.setitem(contenders.MAKERS, "loop", loop)
    found = measured(artifact, against=("loop",)).contenders
    assert found["loop"].label_agreement == 1 - 1 / NUM_ROWS
    assert found["loop"].label_agreement_with == "dhrd"
    assert found["dhrd"].label_agreement == 1


def test_rows_that_begin_alike_are_compared_with_sharing_off(artifact: Path) -> None:
    rule = "answer from the text alone and name no other source. " * 6
    examples = [dhrd.Example(input_text=rule + str(number), label=None) for number in range(20)]
    settings = Settings(against=(), repeats=1, warmup_rows=2, latency_rows=2)
    found = benchmark(artifact, examples, settings, device="cpu", dtype="float32", max_tokens_per_pass=8192)
    assert found.work.sharing_ratio > 3
    assert found.contenders["dhrd_without_sharing"].label_agreement == 1
    assert found.contenders["dhrd"].accuracy is None  # the rows have no labels
    assert "dhrd_without_sharing" in found.dhrd_over


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--against", "guess"], "--against guess: unknown; give some of pipeline, loop, onnx, openvino, vllm, cot"),
        (["--against", "onnx"], "--against onnx: give --onnx DIR, a directory written by `dhrd export`"),
        (["--batch-sizes", "1,zero"], "--batch-sizes 1,zero: give positive integers separated by commas"),
        (["--batch-sizes", ""], "--batch-sizes : give positive integers"),
    ],
)
def test_bad_flags(artifact: Path, capsys: Capsys, flags: list[str], message: str) -> None:
    ended = run_here(capsys, "benchmark", "--model", artifact, *flags)
    assert ended.code == 2
    assert len(ended.error_lines) == 1
    assert message in ended.error_lines[0]


def test_there_must_be_rows(artifact: Path) -> None:
    with pytest.raises(DataError, match="no rows to measure on"):
        benchmark(artifact, [], Settings())


def test_a_head_that_transformers_does_not_load_is_refused(tiny_backbone: Path, tmp_path: Path) -> None:
    config = make_config(tiny_backbone, tmp_path, "training.num_epochs=1", "model.head=mlp")
    out = dhrd.train(config).output_dir
    with pytest.raises(dhrd.ArtifactError, match="leave pipeline, loop and vllm out of `against`"):
        measured(out, against=("pipeline",))
    assert measured(out).contenders["dhrd"].label_agreement == 1
