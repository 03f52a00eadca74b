"""The end of training: what the artifact tells of the run, and the comparison with the model in memory."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dhrd.artifact.read import read_info
from dhrd.data.rows import load_rows
from dhrd.evaluation.live import LiveModel
from dhrd.inference.classifier import Classifier
from dhrd.model.backbone import load_backbone
from dhrd.run import finish
from dhrd.run.finish import artifact_info, save
from dhrd.training.build import Parts, build
from dhrd.training.position import Position
from dhrd.training.setup import Precision
from helpers.runs import make_config


def parts_of(backbone: Path, directory: Path, *overrides: str) -> Parts:
    config = make_config(backbone, directory, *overrides)
    return build(config, load_rows(config), load_backbone(config.model), "cpu")


def test_what_an_artifact_tells_of_its_training(tiny_backbone: Path, tmp_path: Path) -> None:
    parts = parts_of(tiny_backbone, tmp_path, "loss.reasoning_weight=0.5", "loss.lm_targets=input", "seed=4")
    info = artifact_info(parts.config, parts.rows, parts.data.train, parts.model)
    assert (info.labels.names, info.kind) == (parts.rows.labels.names, "sequence_classifier")
    told = info.training
    assert (told["num_train_examples"], told["seed"], told["classification_weight"]) == (20, 4, 1)
    assert told["reasoning_weight"] == 0  # it learned from inputs alone: there is no reasoning head to ask


@pytest.mark.parametrize(
    ("overrides", "has_chosen", "selected", "was_choice"),
    [([], False, False, False), (["training.selection=best"], True, True, True),
     (["training.selection=best"], False, False, False),
     (["training.patience=1", "data.dev_share=0.3"], True, False, True),
     (["training.calibrate=true"], False, True, True)],
)  # fmt: skip
def test_metrics_say_whether_a_choice_was_made_on_their_rows(
    tiny_backbone: Path, tmp_path: Path, overrides: list[str], has_chosen: bool, selected: bool, was_choice: bool
) -> None:
    parts = parts_of(tiny_backbone, tmp_path, *overrides)
    metrics = save(parts, tmp_path / "out", Position(step=7, has_chosen=has_chosen), Precision("no"))
    assert metrics["selected_on"] is selected
    info = read_info(tmp_path / "out")
    assert info.training["steps"] == 7
    assert (info.training["selected_on"] is not None) == was_choice
    assert info.training["metrics"]["accuracy"] == metrics["accuracy"]
    record = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert record["precision"]["mixed"] == "no"


def test_calibration_divides_the_head_and_is_told(tiny_backbone: Path, tmp_path: Path) -> None:
    parts = parts_of(tiny_backbone, tmp_path, "training.calibrate=true")
    before = parts.model.head.score.weight.detach().clone()
    rows, labels = parts.data.validation.examples, parts.rows.labels
    uncalibrated = LiveModel.of(parts.model).evaluate(rows, labels)
    metrics = save(parts, tmp_path / "out", Position(step=1), Precision("no"))
    calibration = read_info(tmp_path / "out").calibration
    assert calibration is not None
    ratio = before / parts.model.head.score.weight.detach()
    assert ratio.min() == pytest.approx(calibration["temperature"], rel=1e-4)
    assert metrics["log_loss"] <= uncalibrated["log_loss"]
    assert metrics["accuracy"] == uncalibrated["accuracy"]


@pytest.mark.parametrize(("overrides", "compared"), [([], 0), (["model.lora={r: 2}"], 1)])
def test_artifact_and_model_are_compared_where_they_may_differ(
    tiny_backbone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, overrides: list[str], compared: int
) -> None:
    parts = parts_of(tiny_backbone, tmp_path, *overrides)
    with caplog.at_level(logging.WARNING, "dhrd"):
        save(parts, tmp_path / "out", Position(step=1), Precision("no"))
    lines = [line for line in caplog.text.splitlines() if "artifact against the trained model on 9 rows" in line]
    assert len(lines) == compared
    assert all("same label on 100.0 %" in line for line in lines)


@pytest.mark.parametrize("memory", ["enough", "too little to load it", "too little to run it"])
def test_the_trained_model_makes_room_for_the_artifact_and_the_run_is_kept(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, memory: str
) -> None:
    parts = parts_of(tiny_backbone, tmp_path, "model.lora={r: 2}")
    done: list[str] = []
    load, answer = Classifier.from_pretrained, finish.trained_logits

    def too_large(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    def loaded(*given: Any, **options: Any) -> Classifier:
        done.append("loaded")
        if memory == "too little to load it":
            too_large()
        classifier = load(*given, **options)
        if memory == "too little to run it":
            monkeypatch.setattr(classifier, "logits", too_large)
        return classifier

    def answers(*given: Any) -> np.ndarray:
        done.append("answered")
        return answer(*given)

    monkeypatch.setattr(finish, "trained_logits", answers)
    monkeypatch.setattr(Classifier, "from_pretrained", loaded)
    monkeypatch.setattr(parts.model, "to", lambda device: done.append(f"moved to {device!r}"))
    with caplog.at_level(logging.WARNING, "dhrd"):
        metrics = save(parts, tmp_path / "out", Position(step=1), Precision("no"))
    assert done == ["answered", "moved to 'cpu'", "loaded", "moved to device(type='cpu')"]
    assert read_info(tmp_path / "out").training["metrics"]["accuracy"] == metrics["accuracy"]
    ran_out = "the artifact was not compared with the trained model: CUDA out of memory. Tried to allocate 2.00 GiB."
    (line,) = [line for line in caplog.messages if "trained model" in line]
    assert line.startswith("artifact against the trained model on 9 rows") if memory == "enough" else line == ran_out


@pytest.mark.parametrize("kind", ["quantized", "sharded"])
def test_what_cannot_be_moved_stays(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    parts = parts_of(tiny_backbone, tmp_path, "model.lora={r: 2}")
    if kind == "quantized":
        monkeypatch.setattr(finish, "is_quantized", lambda module: module is parts.model.causal_lm.base_model)
    else:
        monkeypatch.setattr(finish, "FSDPModule", type(parts.model.causal_lm))
    monkeypatch.setattr(parts.model, "to", None)
    save(parts, tmp_path / "out", Position(step=1), Precision("no"))


def test_without_validation_rows_there_are_no_metrics(tiny_backbone: Path, tmp_path: Path) -> None:
    assert (
        save(
            parts_of(tiny_backbone, tmp_path, "data.validation=null"),
            tmp_path / "out",
            Position(step=1),
            Precision("no"),
        )
        == {}
    )
    assert read_info(tmp_path / "out").training["metrics"] == {}
