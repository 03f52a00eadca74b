"""Training on from an artifact begins with its head: what it answered before, it answers at the first step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dhrd.artifact.info import ArtifactInfo, read_info
from dhrd.artifact.write import save_artifact
from dhrd.config import LossSettings
from dhrd.data.records import LabelSet
from dhrd.data.rows import load_rows
from dhrd.errors import ArtifactError, ConfigError
from dhrd.evaluation.live import LiveModel
from dhrd.inference.classifier import Classifier
from dhrd.model.backbone import load_backbone
from dhrd.run.train import train
from dhrd.training.build import Parts, build
from dhrd.training.kept_head import keep_head
from helpers.artifacts import save_model
from helpers.models import make_model
from helpers.runs import make_config


@pytest.fixture(scope="module", params=["linear", "mlp"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Path) -> Path:
    """An artifact of one epoch, calibrated."""
    directory = tmp_path_factory.mktemp("trained")
    given = ["training.num_epochs=1", "training.calibrate=true", f"model.head={request.param}"]
    with pytest.MonkeyPatch.context() as patch:  # so few rows determine no temperature
        patch.setattr("dhrd.evaluation.live.fit_temperature", lambda *_, **__: 2.0)
        return train(make_config(tiny_backbone, directory, *given), device="cpu").output_dir


def begun(artifact: Path, directory: Path, *labels: str) -> Parts:
    """A run that begins where the artifact ended, its labels in another order, some of them new."""
    config = make_config(artifact, directory, "model.keep_head=true", f"model.head={read_info(artifact).head}")
    rows = load_rows(config)
    rows = replace(rows, labels=LabelSet((*labels, *rows.labels.names)))
    return build(config, rows, load_backbone(config.model), "cpu")


def test_a_run_begins_with_the_answers_of_the_artifact(trained: Path, tmp_path: Path) -> None:
    parts = begun(trained, tmp_path, "other")
    assert parts.rows.labels.names == ("other", "keep", "repair", "return")
    classifier = Classifier.from_pretrained(trained, device="cpu", dtype=None)
    temperature = classifier.info.calibration["temperature"]
    assert temperature == 2
    inputs = [example.input_ids for example in parts.data.validation.examples]
    logits_BC = torch.from_numpy(LiveModel.of(parts.model).logits(inputs))
    theirs_BC = classifier.engine.logits(inputs)
    assert torch.allclose(logits_BC[:, 1:], theirs_BC * temperature, atol=1e-4)


def test_rows_of_new_labels_begin_as_head_init_says(trained: Path, tmp_path: Path) -> None:
    config = make_config(trained, tmp_path, f"model.head={read_info(trained).head}")
    rows = replace(load_rows(config), labels=LabelSet(("other", "keep", "repair", "return")))
    drawn = build(config, rows, load_backbone(config.model), "cpu").model.head.score.weight
    kept = begun(trained, tmp_path, "other").model.head.score.weight
    assert torch.equal(kept[0], drawn[0]) and not torch.equal(kept[1:], drawn[1:])


@pytest.mark.parametrize(
    ("settings", "labels", "problem"),
    [
        ({"pooling": "mean"}, ("keep", "return"), "set model.head=linear and model.pooling=last"),
        ({}, ("a", "b"), "has none of the labels"),
    ],
)
def test_a_head_that_does_not_fit_is_refused(
    settings: dict[str, str], labels: tuple[str, ...], problem: str, tmp_path: Path
) -> None:
    save_model(tmp_path, make_model(), LabelSet(("keep", "repair", "return")))
    with pytest.raises(ConfigError, match=problem):
        keep_head(make_model(num_labels=2, **settings), LabelSet(labels), tmp_path)


def test_a_backbone_that_is_no_artifact_has_no_head(tiny_backbone: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"not a dhrd artifact"):
        config = make_config(tiny_backbone, tmp_path, "model.keep_head=true")
        build(config, load_rows(config), load_backbone(config.model), "cpu")


def test_a_student_without_a_classifier_has_no_head(tmp_path: Path) -> None:
    student = make_model(loss=LossSettings(classification_weight=0))
    labels = LabelSet(("keep", "repair", "return"))
    save_artifact(tmp_path, student, ArtifactInfo(kind="causal_lm", labels=labels))
    with pytest.raises(ArtifactError, match="has no classifier"):
        keep_head(make_model(), labels, tmp_path)
