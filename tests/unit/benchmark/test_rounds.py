"""Turns: who goes on after the first round, whose labels count, ratios of one round."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.benchmark import rounds
from dhrd.benchmark.contenders import BenchmarkRows, Contender
from dhrd.data.records import Example
from dhrd.inference.classifier import Classifier
from helpers.artifacts import save_tiny

TEXTS = ["case 1", "case 2", "case 3", "case 4"]
ROWS = BenchmarkRows([Example(input_text=text) for text in TEXTS], TEXTS, [[5, 6]] * 4, gold=["a", "a", "a", "b"])
SECONDS = {"dhrd": 1.0, "pipeline_1": 8.0, "pipeline_2": 2.0, "pipeline_4": 4.0, "pipeline_default": 16.0}


@pytest.fixture
def classifier(tmp_path: Path) -> Classifier:
    return Classifier.from_pretrained(save_tiny(tmp_path / "artifact"), device="cpu", dtype="float32")


def test_the_pipeline_goes_on_at_one_and_at_its_best(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def contender(name: str) -> Contender:
        def run(rows: BenchmarkRows) -> list[str]:
            calls.append(name)
            return ["a"] * len(rows)

        size = int(name[-1]) if name[-1].isdigit() else None
        return Contender(name=name, title=name, dtype="float32", run=run, batch_size=size, in_process=False)

    def timed(run: object, rows: BenchmarkRows) -> tuple[float, list[str]]:
        labels = run(rows)  # type: ignore[operator]
        return SECONDS[calls[-1]], labels

    monkeypatch.setattr(rounds, "timed", timed)
    made, said = [contender(name) for name in (*SECONDS, "dhrd_without_sharing")], list[str]()
    SECONDS["dhrd_without_sharing"] = 1.0
    found, sweep = rounds.take_turns(made, ROWS, classifier, repeats=2, latency_rows=2, say=said.append)
    assert list(found.contenders) == ["dhrd", "pipeline_1", "pipeline_2", "pipeline_default"]
    assert found.pipeline_best_batch_size == 2
    assert {name: ratio.median for name, ratio in found.dhrd_over.items()} == {
        "pipeline_1": 8,
        "pipeline_2": 2,
        "pipeline_default": 16,
    }
    assert [(point.batch_size, point.queries_per_second) for point in sweep] == [(1, 0.5), (2, 2.0), (4, 1.0)]
    assert said[0] == "round 1 of 2: dhrd"
    assert found.contenders["dhrd"].label_agreement_with == "pipeline_default"
    assert found.contenders["dhrd"].accuracy == 0.75
    assert found.contenders["dhrd"].tokens_per_second == 8
    assert found.contenders["dhrd"].memory is None
