"""Running one cell through the real path: it is what `dhrd train` would give, and its file says how it came about."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import dhrd
from dhrd.config import load_config
from dhrd.data.records import LabelSet
from dhrd.errors import DataError
from dhrd.inference.label_scores import score_labels
from dhrd.metrics.outcomes import Outcomes
from dhrd.model.backbone import load_backbone
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


@pytest.mark.parametrize("with_eos", [False, True])
def test_label_scores_are_the_sums_of_log_probabilities_one_by_one(tiny_backbone: Path, with_eos: bool) -> None:
    backbone = load_backbone(load_config(overrides=[f"model.name_or_path={tiny_backbone}"]).model)
    model, tokenizer = backbone.model.eval(), backbone.tokenizer
    labels = LabelSet(("yes", "no way", "maybe"))
    inputs = tokenizer(["a", "the text is longer", "in the middle"])["input_ids"]
    scores = score_labels(model, tokenizer, inputs, labels, with_eos=with_eos, batch_size=4)
    for row, ids in enumerate(inputs):
        for column, word in enumerate(labels.words):
            answer = tokenizer(f"\nAnswer: {word}", add_special_tokens=False)["input_ids"]
            answer = answer + [tokenizer.eos_token_id] * with_eos
            with torch.no_grad():
                log_p = model(torch.tensor([ids + answer])).logits.log_softmax(-1)[0]
            expected = sum(float(log_p[len(ids) + i - 1, token]) for i, token in enumerate(answer))
            assert scores[row, column] == pytest.approx(expected, abs=1e-4)


def test_sets_of_labels_are_not_scored(tiny_backbone: Path) -> None:
    backbone = load_backbone(load_config(overrides=[f"model.name_or_path={tiny_backbone}"]).model)
    with pytest.raises(DataError, match="these rows may have several"):
        labels = LabelSet(("a", "b"), multi_label=True)
        score_labels(backbone.model, backbone.tokenizer, [[1]], labels, with_eos=False)
