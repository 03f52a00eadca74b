"""The main path: what chooses the weights, what is evaluated on which rows, and how a run ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.data.rows import load_rows
from dhrd.errors import ConfigError
from dhrd.evaluation.live import LiveModel
from dhrd.model.backbone import load_backbone
from dhrd.run import train as run
from dhrd.training.build import Parts, build
from helpers.runs import Recorder, make_config, rows


def parts_of(backbone: Path, directory: Path, *overrides: str) -> Parts:
    config = make_config(backbone, directory, *overrides)
    return build(config, load_rows(config), load_backbone(config.model), "cpu")


@pytest.mark.parametrize(
    ("overrides", "metric"),
    [
        ([], None),
        (["training.metric=log_loss"], None),
        (["training.selection=best"], "accuracy"),
        (["training.patience=1"], "accuracy"),
        (["training.patience=1", "training.metric=log_loss"], "log_loss"),
    ],
)
def test_what_chooses_the_weights(
    tiny_backbone: Path, tmp_path: Path, overrides: list[str], metric: str | None
) -> None:
    config = make_config(tiny_backbone, tmp_path, *overrides)
    assert run.chosen_by(config, load_rows(config)) == metric
    assert config.chooses == (metric is not None)


def test_a_metric_that_there_is_not_is_said_before_the_backbone_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "load_backbone", lambda *_, **__: pytest.fail("loaded"))
    config = make_config(tmp_path / "none", tmp_path, "training.selection=best", "training.metric=f1a")
    with pytest.raises(ConfigError, match=r"training\.metric: 'f1a' is not a metric of this task"):
        run.train(config, device="cpu")


def test_evaluations_are_on_the_rows_of_choices(tiny_backbone: Path, tmp_path: Path) -> None:
    parts = parts_of(tiny_backbone, tmp_path, "data.dev_share=0.3", "training.metric=log_loss", "training.patience=2")
    monitor = run.make_monitor(parts, LiveModel.of(parts.model, parts.accelerator))
    assert monitor is not None
    assert (monitor.metric, monitor.higher_is_better) == ("log_loss", False)
    live = LiveModel.of(parts.model)
    expected = live.evaluate(parts.data.choose.examples, parts.rows.labels)
    assert monitor.evaluate()["log_loss"] == pytest.approx(expected["log_loss"])
    assert expected["num_examples"] == 6


@pytest.mark.parametrize("overrides", [["data.validation=null"], ["loss.classification_weight=0"]])
def test_without_rows_or_a_classifier_there_is_nothing_to_monitor(
    tiny_backbone: Path, tmp_path: Path, overrides: list[str]
) -> None:
    parts = parts_of(tiny_backbone, tmp_path, *overrides)
    assert run.make_monitor(parts, LiveModel.of(parts.model)) is None


def test_a_run_ends_in_an_artifact_and_is_not_run_again(tiny_backbone: Path, tmp_path: Path) -> None:
    config, recorder = make_config(tiny_backbone, tmp_path, "training.num_epochs=1"), Recorder()
    result = run.train(config, train_dataset=rows(8), validation_dataset=rows(4), callbacks=[recorder], device="cpu")
    assert (result.steps, result.output_dir, result.was_finished) == (1, tmp_path / "out", False)
    assert result.metrics["num_examples"] == 4
    assert recorder.ended == [tmp_path / "out"]
    assert (tmp_path / "out" / "dhrd.json").is_file()
    again = run.train(config, checkpoint=tmp_path / "out", device="cpu")
    assert again == run.TrainResult(output_dir=tmp_path / "out", was_finished=True)
