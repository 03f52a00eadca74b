"""However the same rows are split and padded, the update is the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import helpers.split
from dhrd.config import LossSettings
from dhrd.config.losses import LossName
from dhrd.data.records import Batch, EncodedExample
from dhrd.losses import LabelLoss
from dhrd.model.dual_head import DualHeadModel
from dhrd.training import step
from helpers.models import (
    FAMILIES,
    clone,
    difference,
    gradients_of_step,
    make_batch,
    make_model,
    rows,
    save_backbone,
)
from helpers.processes import two_processes

TOLERANCE = 1e-5
Run = tuple[dict[str, Tensor], dict[str, Tensor], list[dict[str, float]]]


def split(model: DualHeadModel, examples: Sequence[EncodedExample], size: int, **options: Any) -> list[Batch]:
    """Micro-batches of so many rows; the last may be short."""
    return [make_batch(examples[i : i + size], model, **options) for i in range(0, len(examples), size)]


@pytest.fixture(scope="module")
def runs(commands: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Name -> (gradients of every update, final weights, what was logged) of whole runs over the same rows."""
    folder = tmp_path_factory.mktemp("splits")
    backbone = save_backbone(folder / "backbone", "llama")
    with two_processes(commands, helpers.split.__file__, backbone, str(folder)):
        gradients = {
            name: helpers.split.train_some(backbone, folder / name, size, accumulation)
            for name, size, accumulation in (("1x8", 8, 1), ("8x1", 1, 8), ("2x4", 4, 2))
        }
    for rank in range(2):  # a second run into the same place is refused on both, and neither waits for the other
        assert "is not empty; resume with `checkpoint`" in (folder / f"refused-{rank}").read_text()
    gradients |= {name: load_file(folder / name / "gradients.safetensors") for name in helpers.split.SPLITS}
    logs = {
        name: [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
        for name in gradients
    }
    return {name: (gradients[name], helpers.split.weights_of(folder / name), logs[name]) for name in gradients}


@pytest.mark.parametrize("other", ["8x1", "2x4", *helpers.split.SPLITS])
def test_a_run_does_not_depend_on_its_split(runs: dict[str, Any], other: str) -> None:
    assert len(runs) == 5
    (ours, our_weights, our_log), (theirs, their_weights, their_log) = runs[other], runs["1x8"]
    assert len(ours) == 3 * len(our_weights)
    assert difference(ours, theirs) < TOLERANCE
    assert difference(our_weights, their_weights) < TOLERANCE
    assert len(our_log) == len(their_log) == 3 + 1
    assert all(line[name] > 0 for name in step.LOG_NAMES.values() for line in our_log[:2])
    for mine, other_line in zip(our_log, their_log, strict=True):
        assert mine.keys() == other_line.keys()
        numbers = [name for name in mine if name != "tokens_per_second"]
        assert [mine[name] for name in numbers] == pytest.approx([other_line[name] for name in numbers], rel=TOLERANCE)


def test_the_run_moved_the_weights(runs: dict[str, Any], tmp_path: Path) -> None:
    _, weights, log = runs["1x8"]
    save_backbone(tmp_path, "llama")
    before = load_file(tmp_path / "model.safetensors")
    assert difference({name: weights[name] for name in before}, before) > 100 * TOLERANCE
    assert len({line["rationale_share"] for line in log if "rationale_share" in line}) > 1


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_micro_batches_add_up_in_every_family(family: str, size: int) -> None:
    assert len(FAMILIES) == 9
    model, examples = make_model(family), rows(8)
    log, whole = gradients_of_step(clone(model), split(model, examples, 8))
    other, parts = gradients_of_step(model, split(model, examples, size))
    assert difference(parts, whole) < TOLERANCE
    for name in ("loss", "classification_loss", "lm_loss", "grad_norm", "rationale_share"):
        assert other[name] == pytest.approx(log[name], rel=TOLERANCE), name


LABEL_LOSSES = {
    "class weights": LabelLoss(class_weight_C=torch.tensor([0.2, 1.0, 5.0])),
    "smoothing": LabelLoss(smoothing=0.2, class_weight_C=torch.tensor([0.2, 1.0, 5.0])),
    "multi-label": LabelLoss(multi_label=True, class_weight_C=torch.tensor([0.2, 1.0, 5.0])),
}


@pytest.mark.parametrize("name", LABEL_LOSSES)
@pytest.mark.parametrize("targets", ["all", "continuation"])
def test_every_label_loss_adds_up(name: str, targets: str) -> None:
    model, examples = make_model("gpt2", label_loss=LABEL_LOSSES[name]), rows(8)
    if name == "multi-label":
        examples = [replace(example, label=tuple(range(i % 4))) for i, example in enumerate(examples)]
    _, whole = gradients_of_step(clone(model), split(model, examples, 8, lm_targets=targets))
    _, parts = gradients_of_step(model, split(model, examples, 3, lm_targets=targets))
    assert difference(parts, whole) < TOLERANCE


LOSSES = get_args(LossName)


def taught(examples: Sequence[EncodedExample]) -> list[EncodedExample]:
    """The rows with the end of each rationale and some words of it: one word in the first, two in the second …"""
    return [
        replace(
            row,
            reason_end=max(0, len(row.continuation_ids) - 2),
            keyword_ids=tuple(sorted(set(row.continuation_ids)))[: 1 + i],
        )
        for i, row in enumerate(examples)
    ]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
def test_every_loss_by_name_adds_up(family: str) -> None:
    settings = LossSettings(**{f"{name}_weight": 0.5 + i for i, name in enumerate(LOSSES)})  # type: ignore[arg-type]
    model, examples = make_model(family, loss=settings), taught(rows(8))
    log, whole = gradients_of_step(clone(model), split(model, examples, 8))
    assert set(settings.names) == set(LOSSES) and len(LOSSES) == 4
    assert log["loss"] == pytest.approx(sum((0.5 + i) * log[step.LOG_NAMES[name]] for i, name in enumerate(LOSSES)))
    for size in (1, 3):  # a row without a rationale is a micro-batch of its own, or not
        other, parts = gradients_of_step(clone(model), split(model, examples, size))
        assert difference(parts, whole) < TOLERANCE
        for name in step.LOG_NAMES.values():
            assert other[name] == pytest.approx(log[name], rel=TOLERANCE), name


@pytest.mark.parametrize("loss", LOSSES)
def test_a_mean_of_means_would_be_seen(monkeypatch: pytest.MonkeyPatch, loss: str) -> None:
    """Each micro-batch divided by its own counts, as trainers with one loss scale do."""
    weights = {f"{name}_weight": float(name == loss) for name in LOSSES}
    if loss not in ("classification", "reasoning"):  # one of these must weigh something
        weights["classification_weight"] = 1e-9
    label_loss = LabelLoss(class_weight_C=torch.tensor([0.5, 1.0, 2.0]))
    settings = LossSettings(**weights)  # type: ignore[arg-type]
    model, examples = make_model("llama", loss=settings, label_loss=label_loss), taught(rows(8))
    _, whole = gradients_of_step(clone(model), split(model, examples, 8))
    combine, micro_batches = step._combine, split(model, examples, 2)
    counts = iter([model.loss_counts(batch) for batch in micro_batches])

    def mean_of_means(weights: dict[Any, float], losses: dict[Any, Tensor], _: dict[Any, Tensor]) -> Tensor:
        return combine(weights, losses, {name: count * len(micro_batches) for name, count in next(counts).items()})

    monkeypatch.setattr(step, "_combine", mean_of_means)
    _, planted = gradients_of_step(model, micro_batches)
    assert difference(planted, whole) > 100 * TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_nothing(family: str) -> None:
    model, examples = make_model(family), rows(6)
    right = gradients_of_step(clone(model), split(model, examples, 6))
    left = gradients_of_step(clone(model), split(model, examples, 6, padding_side="left"))
    none = gradients_of_step(clone(model), split(model, examples, 1))
    for log, gradients in (left, none):
        assert log["loss"] == pytest.approx(right[0]["loss"], rel=TOLERANCE)
        assert difference(gradients, right[1]) < TOLERANCE
    with torch.no_grad():
        logits = [
            torch.cat([model(batch).logits_BC for batch in batches])
            for batches in (split(model, examples, 6, padding_side="left"), split(model, examples, 1))
        ]
        expected = model(make_batch(examples, model)).logits_BC
    for found in logits:
        torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=TOLERANCE)
