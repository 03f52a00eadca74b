"""Running one cell through the real path: it is what `dhrd train` would give, and its file says how it came about."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import dhrd
from dhrd.artifact.read import read_info
from dhrd.config import load_config
from dhrd.experiments.cache import Cache
from dhrd.experiments.cell_result import read_cell
from dhrd.experiments.plan import Request
from dhrd.experiments.report.summary import summarize
from dhrd.experiments.reproduce import reproduce
from dhrd.experiments.run_cell import run_cell
from dhrd.metrics.metrics import compute_metrics
from dhrd.metrics.outcomes import Outcomes
from dhrd.run import train as run
from helpers.experiments import cell, make_request, performed
from helpers.rows import write_jsonl
from helpers.runs import rows
from helpers.superglue import PASSAGE, write_official


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


@pytest.fixture
def grouped(tiny_backbone: Path, tmp_path: Path) -> Request:
    """A pooled cell whose 60 held-out rows are 12 texts."""
    request = make_request(tiny_backbone, tmp_path, arms=("pooled",))
    held_out = [{**row, "group": f"text {number // 5}"} for number, row in enumerate(rows(80)[20:])]
    write_jsonl(tmp_path / "validation.jsonl", held_out)
    return request


def test_training_evaluation_and_studies_resample_whole_groups_alike(grouped: Request) -> None:
    config = cell(grouped).config
    trained, evaluated = run.train(config, device="cpu").metrics, dhrd.evaluate(config.output_dir, device="cpu")
    assert trained["interval_95"] == evaluated.metrics["interval_95"]
    assert config.output_dir is not None and read_info(config.output_dir).training["metrics"] == trained
    ours = Outcomes.from_json(performed(grouped)["outcomes"])
    assert ours.group_B == [f"text {number // 5}" for number in range(60)]
    assert compute_metrics(ours)["interval_95"] == trained["interval_95"]
    assert compute_metrics(replace(ours, group_B=None))["interval_95"] != trained["interval_95"]
    report = summarize(grouped, reproduce(grouped, device="cpu"), command="dhrd …", created="2026-01-01")
    ((arm,),) = (task.arms for task in report.backbones[0].tasks)
    assert arm.interval_method == "percentiles of a bootstrap over whole groups of rows"


def test_a_cells_file_without_groups_is_still_read(grouped: Request) -> None:
    result = run_cell(cell(grouped), Cache("cpu"))
    path = grouped.store.save(cell(grouped), result)
    told = json.loads(path.read_text())
    assert len(told["outcomes"].pop("groups")) == 60
    path.write_text(json.dumps(told))
    assert read_cell(path).outcomes.group_B is None


def test_rows_of_multirc_are_grouped_by_paragraph(tiny_backbone: Path, tmp_path: Path) -> None:
    answers = [{"text": f"answer {label}", "idx": label, "label": label} for label in (0, 1)]
    passage = {"text": PASSAGE, "questions": [{"question": "q?", "idx": 0, "answers": answers}]}
    for split in ("train", "val"):
        write_official(tmp_path, "multirc", [{"idx": number, "passage": passage} for number in range(3)], split)
    request = make_request(tiny_backbone, tmp_path, arms=("pooled",))
    places = {"data__train": "superglue:multirc", "data__validation": None, "data__superglue_root": str(tmp_path)}
    found = performed(replace(request, base=load_config(base=request.base, **places), tasks=("multirc",)))
    assert found["outcomes"]["groups"] == [f"multirc-validation-{row // 2}" for row in range(6)]
    assert set(found["metrics"]["official"]) == {"f1a", "em"}


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
    assert found["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
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
