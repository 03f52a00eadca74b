"""Training a cell: what is chosen, on which rows, and what its curve keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dhrd.experiments.cache import Cache
from dhrd.experiments.run_cell import run_cell
from dhrd.run import train as run
from helpers.experiments import cell, cells, make_request, performed


def test_pairs_train_the_same_tokens_of_input(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path)
    cache = Cache("cpu")
    pooled, dhrd = (run_cell(one, cache).model_dump() for one in cells(request))
    assert pooled["outcomes"]["ids"] == dhrd["outcomes"]["ids"]
    assert pooled["train_tokens"] < dhrd["train_tokens"]
    assert pooled["data"]["validation_tokens_hash"] == dhrd["data"]["validation_tokens_hash"]
    assert all(point["lm_loss"] == 0 for point in pooled["curve"])


def test_a_dev_share_gives_a_curve_and_leaves_validation_alone(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path, "data.dev_share=0.2", "training.num_epochs=2", arms=("dhrd",))
    found = performed(request)
    assert [point["step"] for point in found["held_out_curve"]] == [2, 4]
    assert found["data"]["num_train"] == 16


def test_the_best_weights_are_chosen_as_in_train(tiny_backbone: Path, tmp_path: Path) -> None:
    overrides = ["training.selection=best", "training.metric=log_loss", "training.num_epochs=3"]
    overrides += ["training.learning_rate=3e-2", "data.dev_share=0.3"]
    request = make_request(tiny_backbone, tmp_path, *overrides, arms=("pooled",))
    found, trained = performed(request), run.train(cell(request).config, device="cpu")
    assert found["metrics"]["log_loss"] == pytest.approx(trained.metrics["log_loss"], abs=1e-9)
    assert not found["selected_on"]


def test_a_choice_on_validation_is_marked(tiny_backbone: Path, tmp_path: Path) -> None:
    for num_epochs, has_chosen in (("1", False), ("2", True)):  # of one evaluation nothing is chosen
        overrides = "training.selection=best", f"training.num_epochs={num_epochs}"
        found = performed(make_request(tiny_backbone, tmp_path / num_epochs, *overrides, arms=("pooled",)))
        assert found["selected_on"] == has_chosen


def test_a_temperature_is_that_of_train(tiny_backbone: Path, tmp_path: Path) -> None:
    overrides = ["training.calibrate=true", "data.dev_share=0.4", "training.learning_rate=1e-2"]
    request = make_request(tiny_backbone, tmp_path, *overrides, num_train=40, arms=("pooled",))
    found, trained = performed(request), run.train(cell(request).config, device="cpu")
    assert found["metrics"]["log_loss"] == pytest.approx(trained.metrics["log_loss"], abs=1e-6)
    assert found["temperature"] != 1
    assert not found["selected_on"]


def test_a_fold_is_trained_on_the_others_and_marked(tiny_backbone: Path, tmp_path: Path) -> None:
    one = replace(cell(make_request(tiny_backbone, tmp_path, arms=("pooled",))), fold=(1, 5))
    found = run_cell(one, Cache("cpu")).model_dump()
    assert found["selected_on"]
    assert found["data"]["num_train"] == 16
    assert all(row_id in {f"r{i}" for i in range(20)} for row_id in found["outcomes"]["ids"])


def test_the_course_of_the_weight_reaches_training(tiny_backbone: Path, tmp_path: Path) -> None:
    losses = {}
    for course in ("constant", "decay", "rise"):
        overrides = [f"loss.reasoning_schedule={course}", "model.dropout=0", "training.learning_rate=1e-9"]
        overrides += ["training.head_learning_rate=1e-9", "training.num_epochs=2"]
        losses[course] = performed(make_request(tiny_backbone, tmp_path, *overrides, arms=("dhrd",)))["curve"]
    num_updates = len(losses["constant"])
    for i in range(num_updates):
        constant, decay, rise = (losses[course][i] for course in ("constant", "decay", "rise"))
        lm, label = constant["lm_loss"], constant["classification_loss"]
        assert constant["loss"] == pytest.approx(label + lm, abs=1e-3)
        assert decay["loss"] == pytest.approx(label + lm * (1 - i / num_updates), abs=1e-3)
        assert rise["loss"] == pytest.approx(label + lm * (i + 1) / num_updates, abs=1e-3)
