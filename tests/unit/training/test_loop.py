"""The loop: when it evaluates and saves, which weights it keeps, when it stops."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dhrd.errors import ConfigError
from dhrd.evaluation.live import LiveModel
from dhrd.run import train as run
from dhrd.training.checkpoint_files import whole_checkpoints
from helpers.runs import Recorder, make_config, read_jsonl

STEPS_PER_EPOCH = 5  # 20 rows, 4 an update


class SeesCheckpoints(Recorder):
    """Notes which checkpoints lie there when a step is logged, the steps' own not yet written."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self.seen: dict[int, list[str]] = {}

    def log(self, values: Any, step: int) -> None:
        super().log(values, step)
        self.seen[step] = [path.name.lstrip("step-0") for path in whole_checkpoints(self._directory)]


def train(backbone: Path, directory: Path, *overrides: str) -> tuple[run.TrainResult, SeesCheckpoints]:
    config = make_config(backbone, directory, "training.batch_size=4", *overrides)
    tracker = SeesCheckpoints(directory / "out" / "checkpoints")
    return run.train(config, device="cpu", callbacks=[tracker]), tracker


def test_evaluates_and_saves_at_the_end_of_each_epoch(tiny_backbone: Path, tmp_path: Path) -> None:
    result, tracker = train(tiny_backbone, tmp_path)
    assert result.steps == 2 * STEPS_PER_EPOCH
    assert tracker.steps("loss") == list(range(1, 11))
    assert tracker.steps("eval_accuracy") == [5, 10]
    assert (tracker.seen[5], tracker.seen[6], tracker.seen[10]) == ([], ["5"], ["5"])
    epochs = {int(row["step"]): row["epoch"] for row in tracker.rows if "epoch" in row}
    assert epochs[1] == pytest.approx(0.2)
    assert (epochs[5], epochs[10]) == (1, 2)
    assert tracker.ended == [tmp_path / "out"]
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_eval_steps_and_save_steps(tiny_backbone: Path, tmp_path: Path) -> None:
    _, tracker = train(tiny_backbone, tmp_path, "training.eval_steps=3", "training.save_steps=4")
    assert tracker.steps("eval_accuracy") == [3, 6, 9]
    assert (tracker.seen[4], tracker.seen[5], tracker.seen[9], tracker.seen[10]) == ([], ["4"], ["4", "8"], ["4", "8"])


def test_metrics_jsonl_holds_what_the_trackers_saw(tiny_backbone: Path, tmp_path: Path) -> None:
    result, tracker = train(tiny_backbone, tmp_path)
    assert read_jsonl(tmp_path / "out" / "metrics.jsonl") == tracker.rows
    last = {key: value for row in tracker.rows for key, value in row.items()}
    assert last["eval_accuracy"] == pytest.approx(result.metrics["accuracy"])
    assert last["eval_log_loss"] == pytest.approx(result.metrics["log_loss"], rel=1e-5)


def test_without_validation_nothing_is_evaluated(tiny_backbone: Path, tmp_path: Path) -> None:
    result, tracker = train(tiny_backbone, tmp_path, "data.validation=null")
    assert result.metrics == {}
    assert not [key for row in tracker.rows for key in row if key.startswith("eval_")]


Scripted = dict[str, list[float]]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[Scripted], list[torch.Tensor]]:
    """Let evaluations in training find given values; what it returns are the head's weights at each of them."""

    def install(values: Scripted) -> list[torch.Tensor]:
        heads: list[torch.Tensor] = []
        real = LiveModel.evaluate

        def evaluate(live: LiveModel, *arguments: Any, **options: Any) -> dict[str, Any]:
            metrics = real(live, *arguments, **options)
            if "intervals" not in options:  # in training; the final evaluation is the real one
                index = len(heads)
                heads.append(live.model.head.score.weight.detach().clone())
                metrics |= {name: scripted[index] for name, scripted in values.items()}
            return metrics

        monkeypatch.setattr(LiveModel, "evaluate", evaluate)
        return heads

    return install


def saved_head(directory: Path) -> torch.Tensor:
    return load_file(directory / "out" / "model.safetensors")["score.weight"]


ACCURACY = [0.5, 0.7, 0.6, 0.7, 0.2]  # the best is the second: a tie later does not replace it
LOG_LOSS = [1.0, 0.9, 0.8, 0.3, 0.6]  # lower is better: the fourth
MACRO_F1 = [0.1, 0.2, 0.3, 0.2, 0.1]


@pytest.mark.parametrize(
    ("overrides", "best"),
    [
        (["training.selection=best"], 1),
        (["training.selection=best", "training.metric=accuracy"], 1),
        (["training.selection=best", "training.metric=log_loss"], 3),
        (["training.selection=best", "training.metric=macro_f1"], 2),
        (["training.selection=last"], 4),
        (["training.selection=last", "training.metric=log_loss"], 4),
    ],
)
def test_selection_puts_the_chosen_weights_into_the_artifact(
    tiny_backbone: Path,
    tmp_path: Path,
    script: Callable[[Scripted], list[torch.Tensor]],
    overrides: list[str],
    best: int,
) -> None:
    heads = script({"accuracy": ACCURACY, "log_loss": LOG_LOSS, "macro_f1": MACRO_F1})
    train(tiny_backbone, tmp_path, "training.eval_steps=2", *overrides)
    assert len(heads) == 5
    same = [torch.equal(head, saved_head(tmp_path)) for head in heads]
    assert same == [index == best for index in range(5)]


@pytest.mark.parametrize(
    ("overrides", "num_evaluations"),
    [
        (["training.patience=1"], 3),
        (["training.patience=2"], 4),
        (["training.patience=3"], 5),
        (["training.patience=1", "training.metric=log_loss"], 5),
        (["training.patience=1", "training.metric=macro_f1"], 4),
        ([], 5),
    ],
)
def test_patience_stops(
    tiny_backbone: Path,
    tmp_path: Path,
    script: Callable[[Scripted], list[torch.Tensor]],
    overrides: list[str],
    num_evaluations: int,
) -> None:
    heads = script({"accuracy": ACCURACY, "log_loss": LOG_LOSS, "macro_f1": MACRO_F1})
    result, tracker = train(tiny_backbone, tmp_path, "training.eval_steps=2", *overrides)
    assert len(heads) == num_evaluations
    assert result.steps == 2 * num_evaluations
    assert tracker.steps("loss") == list(range(1, result.steps + 1))
    assert torch.equal(saved_head(tmp_path), heads[-1])  # selection: last


def test_patience_with_best_keeps_the_best(
    tiny_backbone: Path, tmp_path: Path, script: Callable[[Scripted], list[torch.Tensor]]
) -> None:
    heads = script({"accuracy": ACCURACY})
    result, _ = train(
        tiny_backbone, tmp_path, "training.eval_steps=2", "training.patience=1", "training.selection=best"
    )
    assert result.steps == 6
    assert [torch.equal(head, saved_head(tmp_path)) for head in heads] == [False, True, False]


def test_the_last_weights_may_be_the_best(
    tiny_backbone: Path, tmp_path: Path, script: Callable[[Scripted], list[torch.Tensor]]
) -> None:
    """Where the updates between evaluations do not divide those of the run."""
    heads = script({"accuracy": [0.5, 0.6, 0.9]})
    result, tracker = train(tiny_backbone, tmp_path, "training.eval_steps=4", "training.selection=best")
    assert tracker.steps("eval_accuracy") == [4, 8, 10]
    assert torch.equal(saved_head(tmp_path), heads[-1])
    assert result.metrics["selected_on"] is True


@pytest.mark.parametrize(("setting", "evaluated"), [("selection=best", [10]), ("patience=1", [])])
@pytest.mark.parametrize("eval_steps", [10, 1000])
def test_nothing_is_chosen_from_one_evaluation(
    tiny_backbone: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    setting: str,
    evaluated: list[int],
    eval_steps: int,
) -> None:
    with caplog.at_level(logging.WARNING, "dhrd"):
        result, tracker = train(tiny_backbone, tmp_path, f"training.eval_steps={eval_steps}", f"training.{setting}")
    assert tracker.steps("eval_accuracy") == (evaluated if eval_steps > 10 else [10])
    assert result.metrics["selected_on"] is False
    told = f"training.eval_steps={eval_steps}: the run has 10 updates, so nothing is chosen by `accuracy`"
    assert told in caplog.text


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            ("patience=1",),
            "training.patience=1: with 2 evaluations it cannot end the run early; lower it, or",
        ),
        (("patience=9", "eval_steps=2"), "9: with 5 evaluations it cannot end the run early"),
        (("patience=3", "eval_steps=2"), None),
    ],
)
def test_a_patience_that_cannot_run_out_is_told(
    tiny_backbone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, settings: tuple[str, ...], told: str | None
) -> None:
    with caplog.at_level(logging.WARNING, "dhrd"):
        train(tiny_backbone, tmp_path, *(f"training.{setting}" for setting in settings))
    assert told in caplog.text if told else "patience" not in caplog.text


def test_a_metric_that_the_task_does_not_have_is_refused(tiny_backbone: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"training\.metric: 'f1a' is not a metric of this task; give one of accuracy"
    ):
        train(tiny_backbone, tmp_path, "training.selection=best", "training.metric=f1a")


def test_choices_are_made_on_dev_where_there_is_one(tiny_backbone: Path, tmp_path: Path) -> None:
    overrides = ("training.selection=best", "data.dev_share=0.3")
    result, _ = train(tiny_backbone, tmp_path / "dev", *overrides)
    assert result.metrics["selected_on"] is False
    assert result.metrics["num_examples"] == 9  # validation, not dev
    assert result.steps == 2 * 4  # 6 of 20 rows are dev: 14 rows, 4 an update
    result, _ = train(tiny_backbone, tmp_path / "validation", "training.selection=best")
    assert result.metrics["selected_on"] is True
