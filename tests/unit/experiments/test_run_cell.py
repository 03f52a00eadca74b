"""Running one cell through the real path: it is what `dhrd train` would give, and its file says how it came about."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from dhrd import run
from dhrd.config import load_config
from dhrd.data.records import LabelSet
from dhrd.errors import DataError
from dhrd.evaluation.outcomes import Outcomes
from dhrd.experiments.cache import Cache
from dhrd.experiments.cells import Cell
from dhrd.experiments.plan import Request, final_cells
from dhrd.experiments.run_cell import run_cell
from dhrd.inference.label_scores import score_labels
from dhrd.model.backbone import load_backbone
from helpers_experiments import make_request


def cells(request: Request) -> list[Cell]:
    return final_cells(request, Cache("cpu"), {})


def cell(request: Request) -> Cell:
    return cells(request)[0]


def performed(request: Request) -> dict[str, Any]:
    result = run_cell(cell(request), Cache("cpu"))
    return json.loads(json.dumps(result.model_dump()))  # what comes back from a file


@pytest.mark.parametrize("arm", ["pooled", "dhrd"])
def test_a_cell_is_what_train_gives(tiny_backbone: Path, tmp_path: Path, arm: str) -> None:
    request = make_request(tiny_backbone, tmp_path, "seed=4", arms=(arm,))
    config = cell(request).config
    trained = run.train(config, device="cpu")
    found = performed(request)
    for name in ("accuracy", "macro_f1", "log_loss"):
        assert found["metrics"][name] == pytest.approx(trained.metrics[name], abs=1e-9)
    evaluated = run.evaluate(config.output_dir, device="cpu")
    ours = Outcomes.from_json(found["outcomes"])
    assert ours.ids == evaluated.predictions.ids
    assert numpy.abs(ours.probabilities_BC - evaluated.predictions.probabilities_BC).max() < 1e-5
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


def test_pairs_train_the_same_tokens_of_input(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path)
    cache = Cache("cpu")
    pooled, dhrd = (run_cell(one, cache).model_dump() for one in cells(request))
    assert pooled["outcomes"]["ids"] == dhrd["outcomes"]["ids"]
    assert pooled["train_tokens"] < dhrd["train_tokens"]
    assert pooled["data"]["validation_tokens_hash"] == dhrd["data"]["validation_tokens_hash"]
    assert all(point["lm_loss"] == 0 for point in pooled["curve"])


def test_a_cache_gives_what_a_fresh_one_gives(tiny_backbone: Path, tmp_path: Path) -> None:
    """A cell must not see what an earlier one did to the backbone."""
    request = make_request(tiny_backbone, tmp_path, "training.learning_rate=1e-2", num_seeds=2)
    shared = Cache("cpu")
    for one in cells(request):
        ours, fresh = (run_cell(one, cache).model_dump() for cache in (shared, Cache("cpu")))
        assert ours["outcomes"] == fresh["outcomes"]
        assert ours["curve"] == fresh["curve"]


def test_a_dev_share_gives_a_curve_and_leaves_validation_alone(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path, "data.dev_share=0.2", "training.num_epochs=2", arms=("dhrd",))
    found = performed(request)
    assert [point["step"] for point in found["held_out_curve"]] == [3, 6]
    assert found["data"]["num_train"] == 17


def test_the_best_weights_are_chosen_as_in_train(tiny_backbone: Path, tmp_path: Path) -> None:
    overrides = ["training.selection=best", "training.metric=log_loss", "training.num_epochs=3"]
    overrides += ["training.learning_rate=3e-2", "data.dev_share=0.3"]
    request = make_request(tiny_backbone, tmp_path, *overrides, arms=("pooled",))
    found, trained = performed(request), run.train(cell(request).config, device="cpu")
    assert found["metrics"]["log_loss"] == pytest.approx(trained.metrics["log_loss"], abs=1e-9)
    assert not found["selected_on"]


def test_a_choice_on_validation_is_marked(tiny_backbone: Path, tmp_path: Path) -> None:
    assert performed(make_request(tiny_backbone, tmp_path, "training.selection=best", arms=("pooled",)))["selected_on"]


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


def test_a_student_is_decoded(tiny_backbone: Path, tmp_path: Path) -> None:
    found = performed(make_request(tiny_backbone, tmp_path, study="throughput", arms=("cot_student",)))
    metrics, speed = found["metrics"], found["speed"]
    assert metrics["num_examples"] == 6  # the limit
    assert 0 <= metrics["unparsable"] <= 1
    assert metrics["accuracy"] <= 1 - metrics["unparsable"]
    assert 0 < metrics["mean_new_tokens"] <= 12
    assert speed["queries_per_second"] > 0
    assert speed["unparsable_share"] == metrics["unparsable"]
    assert "transformers, batch 4" in speed["engine"]
    assert found["outcomes"]["probabilities"] is None


def test_an_untuned_backbone_is_decoded_as_it_is(tiny_backbone: Path, tmp_path: Path) -> None:
    found = performed(make_request(tiny_backbone, tmp_path, study="throughput", arms=("cot_untuned",)))
    assert found["steps"] == 0
    assert "train" not in found["seconds"]


def test_a_classifiers_speed_is_from_text_to_label(tiny_backbone: Path, tmp_path: Path) -> None:
    found = performed(make_request(tiny_backbone, tmp_path, study="throughput", arms=("dhrd",)))
    assert found["speed"]["num_queries"] == 9
    assert 0 < found["speed"]["min"] <= found["speed"]["queries_per_second"] <= found["speed"]["max"]
    assert found["metrics"]["num_examples"] == 9


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


def test_shares_of_rows_and_of_rationales(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path, study="data_scale", num_train=40)
    cache = Cache("cpu")
    found = {one.arm.name: cache.rows(one.config) for one in cells(request)}
    ids = {name: {example.id for example in rows.train} for name, rows in found.items()}
    assert len(ids["dhrd_25"]) == pytest.approx(10, abs=1)
    assert ids["dhrd_25"] == ids["pooled_25"] < ids["dhrd_50"] < ids["dhrd_100"]
    reasoned = {name: {e.id for e in rows.train if e.rationale} for name, rows in found.items()}
    whole = len(reasoned["dhrd_100"])
    assert len(reasoned["dhrd_rationales_25"]) == round(0.25 * whole)
    assert reasoned["dhrd_rationales_25"] < reasoned["dhrd_rationales_50"] < reasoned["dhrd_100"]
    assert ids["dhrd_rationales_25"] == ids["dhrd_100"]


def test_a_drawn_backbone_is_the_seeds_and_the_same_in_both_arms(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path, num_seeds=2)
    request = replace(request, backbones=(f"scratch:{tiny_backbone / 'config.json'}",))
    cache = Cache("cpu")
    drawn = {
        (cell.config.seed, cell.arm.name): cache.backbone(cell.config).model.lm_head.weight
        for cell in final_cells(request, cache, {})
    }
    assert torch.equal(drawn[0, "pooled"], drawn[0, "dhrd"])
    assert torch.equal(drawn[1, "pooled"], drawn[1, "dhrd"])
    assert not torch.equal(drawn[0, "pooled"], drawn[1, "pooled"])
