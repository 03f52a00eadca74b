"""L_cls of one of several tasks: its own labels, and the rows that have one of them, as torch has it of them alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from dhrd.data.records import Batch, EncodedExample
from dhrd.label_loss import LabelLoss
from dhrd.losses import COUNTS, loss_terms, privileged_loss
from helpers.models import make_batch, make_model

WEIGHT_C = torch.tensor([0.2, 1.0, 5.0])
LOGITS_BC = torch.randn(4, 5, generator=torch.Generator().manual_seed(3))
LABELS = [((0, 4), ()), ((3,), (0,)), ((2, 3), ()), ((1,), (1,))]
"""Class indices of each row, and the tasks that it has no label of: three labels of the first, two of the second."""


def batch_of(weights: tuple[float, ...] = (1.0, 0.5, 2.0, 1.0)) -> Batch:
    examples = [
        EncodedExample(id=str(i), input_ids=[1 + i], continuation_ids=[], label=label, unlabelled=none, weight=weight)
        for i, ((label, none), weight) in enumerate(zip(LABELS, weights, strict=True))
    ]
    return make_batch(examples, make_model(), num_labels=5, num_tasks=2)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_one_label_a_row(smoothing: float) -> None:
    loss = LabelLoss(columns=slice(0, 3), task=0, class_weight_C=WEIGHT_C, smoothing=smoothing)
    rows, target, weight_B = [0, 2, 3], torch.tensor([0, 2, 1]), torch.tensor([1.0, 2.0, 1.0])
    expected_B = F.cross_entropy(LOGITS_BC[rows, :3], target, WEIGHT_C, reduction="none", label_smoothing=smoothing)
    batch = batch_of()
    torch.testing.assert_close(loss(LOGITS_BC, batch), (expected_B * weight_B).sum())
    torch.testing.assert_close(loss.count(batch), (WEIGHT_C[target] * weight_B).sum())
    torch.testing.assert_close(loss.row_weight(batch), torch.tensor([1.0, 0.0, 2.0, 1.0]))


def test_several_labels_a_row_of_which_none_is_an_answer_too() -> None:
    loss = LabelLoss(multi_label=True, columns=slice(3, 5), task=1)
    target_BC, weight_B = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]), torch.tensor([1.0, 0.5, 2.0])
    expected_BC = F.binary_cross_entropy_with_logits(LOGITS_BC[:3, 3:], target_BC, reduction="none")
    torch.testing.assert_close(loss(LOGITS_BC, batch_of()), (expected_BC.sum(1) * weight_B).sum())
    assert float(loss.count(batch_of())) == 2 * 3.5


@pytest.mark.parametrize("task", [0, 1])
def test_no_gradient_from_rows_without_the_label_nor_to_other_tasks(task: int) -> None:
    loss = LabelLoss(columns=(slice(0, 3), slice(3, 5))[task], task=task, smoothing=0.1)
    logits = LOGITS_BC.clone().requires_grad_()
    loss(logits, batch_of()).backward()
    assert logits.grad is not None
    moved_BC = logits.grad != 0
    assert moved_BC.any(1).tolist() == [task not in none for _, none in LABELS]
    assert moved_BC.any(0).tolist() == [(place >= 3) == task for place in range(5)]


def test_a_task_is_to_the_bit_what_it_is_alone() -> None:
    whole, own = batch_of(), LabelLoss(columns=slice(0, 5), class_weight_C=torch.rand(5), smoothing=0.1)
    plain = replace(whole, unlabelled_BJ=None)
    assert torch.equal(own(LOGITS_BC, plain), replace(own, columns=slice(None))(LOGITS_BC, plain))


def test_losses_of_labels_are_once_a_task() -> None:
    losses = {"a": LabelLoss(columns=slice(0, 3), weight=2.0), "b": LabelLoss(columns=slice(3, 5), task=1)}
    terms = loss_terms(("classification", "reasoning", "privileged"), losses)
    assert list(terms) == [
        "classification/a", "classification/b", "reasoning", "privileged/a", "privileged/b"
    ]  # fmt: skip
    assert [term.task_weight for term in terms.values()] == [2, 1, 1, 2, 1]
    assert list(loss_terms(("classification", "keyword"), {"": LabelLoss()})) == ["classification", "keyword"]
    assert float(terms["classification/b"].count(batch_of())) == 3.5


def test_the_privileged_loss_of_a_task_is_of_its_labels_and_rows() -> None:
    batch = replace(batch_of((1.0,) * 4), reason_end_B=torch.tensor([0, 0, -1, 0]))
    loss, privileged_BC = LabelLoss(columns=slice(0, 3), task=0), LOGITS_BC.flip(0)
    rows, target = [0, 3], torch.tensor([0, 1])
    known = F.cross_entropy(privileged_BC[rows, :3], target, reduction="sum")
    known += F.cross_entropy(LOGITS_BC[2:3, :3], torch.tensor([2]), reduction="sum")  # a label, and no rationale
    taught = F.cross_entropy(LOGITS_BC[rows, :3], privileged_BC[rows, :3].softmax(1), reduction="sum")
    torch.testing.assert_close(privileged_loss(LOGITS_BC, privileged_BC, batch, loss), known + taught)
    assert float(COUNTS["privileged"](loss, batch)) == 3
