"""Running one cell through the real path: it is what `dhrd train` would give, and its file says how it came about."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import dhrd
from dhrd.metrics.outcomes import Outcomes
from dhrd.run import train as run
from helpers.experiments import cell, make_request, performed


@pytest.mark.parametrize("arm", ["pooled", "dhrd"])
def test_a_cell_is_what_train_gives(tiny_backbone: Path, tmp_path: Path, arm: str) -> None:
    request = make_request(tiny_backbone, tmp_path, "seed=4", arms=(arm,))
    config = cell(request).config
    trained = run.train(config, device="cpu")
    found = performed(request)
    for name in ("accuracy", "macro_f1", "log_loss"):
        assert found["metrics"][name] == pytest.approx(trained.metrics[name], abs=1e-9)
    evaluated = dhrd.evaluate(config.output_dir, device="cpu")
    ours = Outcomes.from_json(found["outcomes"])
    assert ours.ids == evaluated.outcomes.ids
    assert np.abs(ours.probabilities_BC - evaluated.outcomes.probabilities_BC).max() < 1e-5
    assert found["steps"] == trained.steps


def test_adapters_are_merged_as_in_the_artifact(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path, "model.lora=true", "training.learning_rate=1e-2", arms=("dhrd",))
    trained = run.train(cell(request).config, device="cpu")
    assert performed(request)["metrics"]["log_loss"] == pytest.approx(trained.metrics["log_loss"], abs=1e-6)


def test_a_file_says_what_it_was_run_on(tiny_backbone: Path, tmp_path: Path) -> None:
    found = performed(make_request(tiny_backbone, tmp_path, arms=("dhrd",)))
    assert found["data"]["num_train"] == 20
    assert found["data"]["num_validation"] == 9
    assert 0 < found["data"]["num_with_rationale"] < 20
    assert set(found["seconds"]) >= {"load", "train", "evaluate", "total"}
    assert sum(v for k, v in found["seconds"].items() if k != "total") <= found["seconds"]["total"] + 0.05
    assert found["versions"]["torch"] == torch.__version__
    assert "cores" in found["device"]
    assert not found["selected_on"]
    assert [point["step"] for point in found["curve"]] == [1, 2, 3]
    assert found["held_out_curve"] == []  # validation rows are looked at once, at the end


@pytest.mark.parametrize("arm", ["label_scores", "label_scores_untuned"])
def test_labels_are_scored_by_the_lm_head(tiny_backbone: Path, tmp_path: Path, arm: str) -> None:
    found = performed(make_request(tiny_backbone, tmp_path, study="baselines", arms=(arm,)))
    assert found["metrics"]["num_examples"] == 9
    assert math.isfinite(found["metrics"]["log_loss"])
    assert (found["steps"] > 0) == (arm == "label_scores")


def test_a_classifiers_speed_is_from_text_to_label(tiny_backbone: Path, tmp_path: Path) -> None:
    found = performed(make_request(tiny_backbone, tmp_path, study="throughput", arms=("dhrd",)))
    assert found["speed"]["num_queries"] == 9
    assert 0 < found["speed"]["min"] <= found["speed"]["queries_per_second"] <= found["speed"]["max"]
    assert found["metrics"]["num_examples"] == 9
