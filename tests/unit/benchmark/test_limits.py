"""How far from the machine's limit, from fp32, and against length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dhrd.benchmark import limits
from dhrd.benchmark.contenders import BenchmarkRows, Contender
from dhrd.benchmark.inference import prepare_rows
from dhrd.data.records import Example
from dhrd.inference.classifier import Classifier
from helpers.artifacts import save_tiny


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("limits") / "artifact")


@pytest.fixture
def classifier(directory: Path) -> Classifier:
    return Classifier.from_pretrained(directory, device="cpu", dtype="float32")


@pytest.fixture
def rows(classifier: Classifier) -> BenchmarkRows:
    return prepare_rows(classifier, [Example(input_text=f"{number} " * (5 + 9 * number)) for number in range(9)])


def test_a_share_is_of_the_machines_rate(
    classifier: Classifier, rows: BenchmarkRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "matmul_flops_per_second", lambda *_: 1e9)
    monkeypatch.setattr(limits, "matmul_flops_per_second_of", lambda *_: 0.0)  # no linear layer
    monkeypatch.setattr(limits, "timed", lambda run, some: (2.0, run(some)))
    found = limits.roofline(classifier, rows, 3)
    assert found.num_rows == 9
    assert found.forward_flops_per_second == found.flops_needed / 2
    assert found.share_of_matmul_rate == pytest.approx(found.flops_needed / 2e9)
    assert found.share_of_matmul_rate_at_own_shapes is None
    assert 0 < found.needed_tokens_per_second * 2 <= rows.num_tokens


def test_rows_are_cut_to_one_length(classifier: Classifier, rows: BenchmarkRows) -> None:
    lengths = sorted(map(len, rows.input_ids))
    found = limits.length_sweep([], classifier, rows)
    assert [point.num_tokens for point in found] == [32 * 2**index for index in range(len(found))]
    assert all(set(point.queries_per_second) == {"dhrd"} for point in found)
    assert all(point.num_rows == sum(length >= point.num_tokens for length in lengths) for point in found)
    assert len(found) == sum(lengths[-8] >= length for length in (32, 64, 128, 256))


def test_each_length_runs_once_before_it_is_timed(
    classifier: Classifier, rows: BenchmarkRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[tuple[int, bool]] = []
    is_timed = False

    def run(some: BenchmarkRows) -> list[str]:
        runs.append((max(map(len, some.input_ids)), is_timed))
        return ["a"] * len(some)

    def timed(work: Callable[[BenchmarkRows], list[str]], some: BenchmarkRows) -> tuple[float, list[str]]:
        nonlocal is_timed
        is_timed = True
        answers = work(some)
        is_timed = False
        return 1.0, answers

    monkeypatch.setattr(limits, "timed", timed)
    peer = Contender(name="pipeline_1", title="a peer", dtype="float32", run=run)
    found = limits.length_sweep([peer], classifier, rows)
    assert runs == [(point.num_tokens, is_timed) for point in found for is_timed in (False, True)]
    assert [point.queries_per_second["pipeline_1"] for point in found] == [point.num_rows for point in found]


def test_parity_sees_what_sharing_and_dtype_change(directory: Path, rows: BenchmarkRows) -> None:
    exact = Classifier.from_pretrained(directory, device="cpu", dtype="float32")
    found = limits.parity_with_fp32(directory, exact, rows, {"device": "cpu"})
    assert (found.num_rows, found.dtype, found.as_run.label_agreement) == (9, "float32", 1)
    assert found.as_run.max_probability_difference < 1e-5
    exact.head.score.weight.data *= -20
    spoiled = limits.parity_with_fp32(directory, exact, rows, {"device": "cpu"})
    assert spoiled.without_sharing.max_probability_difference > 0.01
