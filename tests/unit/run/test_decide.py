"""A decision is chosen on labelled rows, written into the artifact, and obeyed."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from dhrd.artifact.info import read_info
from dhrd.artifact.known_rows import CHOSEN, DECIDED, TRAINED, read_digests, write_digests
from dhrd.data.digest import digest_of
from dhrd.errors import ArtifactError, ConfigError, DataError
from dhrd.evaluation.evaluate import evaluate_classifier
from dhrd.run.decide import clear, decide
from dhrd.run.predict.predict import predict
from dhrd.run.rows import rows_of
from helpers.artifacts import change
from helpers.jobs import HashClassifier, use
from helpers.rows import write_jsonl


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return use(monkeypatch, tmp_path / "model")


def labelled_rows(path: Path, model: Path, count: int, **more: Any) -> Path:
    """Rows whose label is the most probable one where that is over 0.6, and another where it is not."""
    rows = [{"input_text": f"{path.stem} {index}", "label": "bill"} for index in range(count)]
    write_jsonl(path, rows)
    for row, prediction in zip(rows, list(predict(model, path)), strict=True):
        p = prediction["probabilities"]
        row |= {"label": max(p, key=p.get) if max(p.values()) > 0.6 else min(p, key=p.get), **more}
    return write_jsonl(path, rows)


def test_the_decision_is_written_and_obeyed(model: Path, tmp_path: Path) -> None:
    dev, new = (labelled_rows(tmp_path / f"{name}.jsonl", model, 600) for name in ("dev", "new"))
    before = json.loads((model / "dhrd.json").read_text())
    decided = decide(model, dev, targets=["accuracy>=0.9"], sets=0.9, confidence=0.95)
    assert decided.decision.num_rows == 600
    (rule,) = decided.decision.rules
    assert 0.4 < rule.threshold < 0.62
    assert decided.metrics["accuracy"] > 0.9
    manifest = json.loads((model / "dhrd.json").read_text())
    assert {**manifest, "format_version": 1} == {**before, "decision": manifest["decision"]}
    assert manifest["format_version"] == 2
    assert read_info(model).decision == decided.decision
    predictions = list(predict(model, new))
    assert [row["abstained"] for row in predictions] == [
        max(row["probabilities"].values()) < rule.threshold for row in predictions
    ]
    clear(model)
    assert json.loads((model / "dhrd.json").read_text()) == before


def test_evaluate_shows_what_is_answered(model: Path, tmp_path: Path) -> None:
    dev, new = (labelled_rows(tmp_path / f"{name}.jsonl", model, 400) for name in ("dev", "new"))
    decide(model, dev, targets=["accuracy>=0.9"])
    classifier: Any = HashClassifier(read_info(model).decision)
    evaluation = evaluate_classifier(classifier, rows_of(model, new))
    decision, rows = evaluation.metrics["decision"], list(evaluation.rows())
    answered = [row for row in rows if not row["abstained"]]
    assert decision["num_answered"] == len(answered)
    assert decision["coverage"] == len(answered) / 400
    assert decision["accuracy"] == sum(row["label"] == row["gold"] for row in answered) / len(answered)
    assert all(row["label"] is None for row in rows if row["abstained"])
    assert decision["risk_coverage"][-1]["coverage"] == 1
    assert decision["risk_coverage"][-1]["risk"] == pytest.approx(1 - evaluation.metrics["accuracy"])
    assert not decision["selected_on"]
    assert evaluate_classifier(classifier, rows_of(model, dev)).metrics["decision"]["selected_on"]


def digests(model: Path, path: Path) -> list[str]:
    return [digest_of(row) for row in rows_of(model, path)]


def test_rows_that_were_trained_on_are_left_out(model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Here they are all wrong, so that they would forbid what the others allow."""
    dev = labelled_rows(tmp_path / "dev.jsonl", model, 600)
    rows = [json.loads(line) for line in dev.read_text().splitlines()]
    wrong = [{**row, "label": "mail" if row["label"] == "bill" else "bill"} for row in rows[:200]]
    write_jsonl(dev, [*wrong, *rows[200:]])
    with pytest.raises(DataError, match="the surest answers among them reach"):
        decide(model, dev, targets=["accuracy>=0.9"])
    known = digests(model, dev)
    write_digests(model / TRAINED, known[:200])
    decided = decide(model, dev, targets=["accuracy>=0.9"], sets=0.9)
    assert decided.decision.num_rows == 400
    assert "200 of 600 rows have the text of a training row; they show nothing of new ones and are left" in caplog.text
    assert read_digests(model / DECIDED) == {*known[200:]}
    clear(model)
    assert read_digests(model / DECIDED) is None


def test_copies_and_rows_of_another_choice_are_told(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dev = labelled_rows(tmp_path / "dev.jsonl", model, 300)
    twice = tmp_path / "twice.jsonl"
    twice.write_text(dev.read_text() + "".join(dev.read_text().splitlines(keepends=True)[:40]))
    decide(model, dev, targets=["accuracy>=0.75"])
    assert not caplog.records
    write_digests(model / CHOSEN, digests(model, dev)[10:30])
    decide(model, twice, targets=["accuracy>=0.75"])
    assert "40 of the 340 rows have the text of an earlier one" in caplog.text
    assert "weights or a temperature were chosen on 40 of the 340 rows" in caplog.text


def test_what_cannot_be_shown_is_refused_and_nothing_written(model: Path, tmp_path: Path) -> None:
    before = (model / "dhrd.json").read_bytes()
    dev = labelled_rows(tmp_path / "dev.jsonl", model, 60)
    with pytest.raises(DataError, match=r"the 60 rows cannot show it; about \d+ rows like these would"):
        decide(model, dev, targets=["accuracy>=0.98"])
    assert (model / "dhrd.json").read_bytes() == before


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({}, "nothing to decide"),
        ({"targets": ["accuracy>=0.9"], "confidence": 1.0}, "`confidence=1`: not between"),
        ({"sets": 90}, "`sets=90`: not between"),
        ({"targets": ["recall:none>=0.9"]}, "no label 'none'"),
    ],
)
def test_what_makes_no_sense_is_refused(model: Path, tmp_path: Path, given: Any, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        decide(model, labelled_rows(tmp_path / "dev.jsonl", model, 20), **given)


def test_rows_in_groups_are_remarked_on(model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dev = labelled_rows(tmp_path / "dev.jsonl", model, 300, group="one")
    with caplog.at_level(logging.WARNING, "dhrd"):
        decide(model, dev, targets=["accuracy>=0.5"])
    assert "the rows come in groups" in caplog.text


def test_decide_and_evaluate_resample_groups_alike(model: Path, tmp_path: Path) -> None:
    dev = labelled_rows(tmp_path / "dev.jsonl", model, 300)
    rows = [json.loads(line) | {"group": str(index // 30)} for index, line in enumerate(dev.open())]
    decided = decide(model, rows, targets=["accuracy>=0.2"], sets=0.8).metrics
    classifier: Any = HashClassifier(read_info(model).decision)
    metrics = evaluate_classifier(classifier, rows_of(model, rows)).metrics
    assert decided["coverage"] == 1
    assert metrics["decision"].items() >= decided.items()
    assert decided["accuracy_interval_95"] == metrics["interval_95"]["accuracy"]
    alone = decide(model, dev, targets=["accuracy>=0.2"]).metrics
    assert alone["accuracy"] == decided["accuracy"]
    assert alone["accuracy_interval_95"] != decided["accuracy_interval_95"]


def rule(measure: str, level: float, label: str) -> dict[str, Any]:
    return {"rules": [{"target": {"measure": measure, "level": level, "label": label}, "threshold": 0.5}]}


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        (
            {"rules": [{"target": {"measure": "precision", "level": 0.9, "label": "x"}, "threshold": 0.5}]},
            "no label 'x'",
        ),
        ({"rules": [{"target": {"measure": "accuracy", "level": 2, "label": ""}, "threshold": 0.5}]}, "level"),
        ({"rules": [{"target": {"measure": "f1", "level": 0.5, "label": ""}, "threshold": 0.5}]}, "measure"),
        ({"sets": {"coverage": 0.9, "threshold": 7}}, "shares"),
        ({"confidence": "high"}, "confidence"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_damaged_decision_is_refused(model: Path, part: dict[str, Any], problem: str) -> None:
    whole = {"rules": [], "confidence": 0.9, "sets": None, "num_rows": 1, "fingerprint": "f"}
    change(model / "dhrd.json", decision=whole)
    read_info(model)
    change(model / "dhrd.json", decision=whole | part)
    with pytest.raises(ArtifactError, match=problem):
        read_info(model)


def trained_on(model: Path, path: Path) -> None:
    """Let the artifact's run say that it was trained on a file."""
    (model / "run.json").write_text(
        json.dumps({"config": {"data": {"train": str(path)}, "loss": {"reasoning_weight": 0}}})
    )


def test_rows_that_were_trained_on_certify_nothing(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train, dev = (labelled_rows(tmp_path / f"{name}.jsonl", model, 400) for name in ("train", "dev"))
    trained_on(model, train)
    before = (model / "dhrd.json").read_text()
    with pytest.raises(DataError, match="the model was trained on 400 of the 400 rows"):
        decide(model, train, targets=["accuracy>=0.8"])
    assert (model / "dhrd.json").read_text() == before
    few = tmp_path / "few.jsonl"
    few.write_text("".join(train.read_text().splitlines(keepends=True)[:8]) + dev.read_text())
    with caplog.at_level(logging.WARNING, "dhrd"):
        decide(model, few, targets=["accuracy>=0.8"])
    assert "8 of 408 rows have the text of a training row" in caplog.text
    train.unlink()
    with caplog.at_level(logging.WARNING, "dhrd"):
        decide(model, dev, targets=["accuracy>=0.8"])
    assert "cannot check whether the model was trained on these rows" in caplog.text
