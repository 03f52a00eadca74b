"""Every loss against torch's own, and its gradients against autograd's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dhrd.data.collate import as_ghost, collate
from dhrd.data.records import Batch, EncodedExample
from dhrd.losses import (
    COUNTS,
    LabelLoss,
    keyword_count,
    keyword_loss,
    privileged_loss,
    target_count,
)
from helpers.lm_layer import TRANSFORMS, gradients, layer, stock

WEIGHT_C = torch.tensor([0.5, 1.0, 4.0])


def batch_of(labels: list[tuple[int, ...]], *, ghost: bool = False) -> Batch:
    examples = [
        EncodedExample(id=f"{i}", input_ids=[1, 2], continuation_ids=[3], label=one) for i, one in enumerate(labels)
    ]
    batch = collate(examples, pad_token_id=0, num_labels=3)
    return as_ghost(batch) if ghost else batch


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(0)) * 2


SINGLE: list[tuple[int, ...]] = [(0,), (2,), (1,), (2,)]
SEVERAL: list[tuple[int, ...]] = [(0, 2), (), (1,), (0, 1, 2)]


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weight", [None, WEIGHT_C])
def test_cross_entropy(logits: Tensor, weight: Tensor | None, smoothing: float) -> None:
    loss, target = LabelLoss(class_weight_C=weight, smoothing=smoothing), torch.tensor([0, 2, 1, 2])
    total, count = loss(logits, batch_of(SINGLE)), loss.count(batch_of(SINGLE))
    torch.testing.assert_close(total / count, F.cross_entropy(logits, target, weight, label_smoothing=smoothing))
    assert float(count) == (4 if weight is None else 0.5 + 4 + 1 + 4)


SHARES = [(0.7, 0.3, 0.0), (0.0, 0.0, 1.0), (0.2, 0.5, 0.3), (0.1, 0.1, 0.8)]


def soft_batch(shares: list[tuple[float, ...]], weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> Batch:
    examples = [
        EncodedExample(id=f"{i}", input_ids=[1, 2], continuation_ids=[3], label=(0,), shares=share, weight=weight)
        for i, (share, weight) in enumerate(zip(shares, weights, strict=True))
    ]
    return collate(examples, pad_token_id=0, num_labels=3)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weight", [None, WEIGHT_C])
def test_cross_entropy_of_shares_is_torchs_of_probabilities(
    logits: Tensor, weight: Tensor | None, smoothing: float
) -> None:
    loss, target = LabelLoss(class_weight_C=weight, smoothing=smoothing), torch.tensor(SHARES)
    total, count = loss(logits, soft_batch(SHARES)), loss.count(soft_batch(SHARES))
    expected = F.cross_entropy(logits, target, weight, reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(count, (target * (torch.ones(3) if weight is None else weight)).sum())
    if weight is None:
        torch.testing.assert_close(total / count, F.cross_entropy(logits, target, label_smoothing=smoothing))


@pytest.mark.parametrize("weight", [None, WEIGHT_C])
def test_a_single_share_is_the_label_bit_for_bit(logits: Tensor, weight: Tensor | None) -> None:
    loss, index = LabelLoss(class_weight_C=weight), torch.tensor([0, 2, 1, 2])
    found, by_index = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    one_hot = soft_batch([tuple(row) for row in F.one_hot(index, 3).float().tolist()])
    total, expected = loss(found, one_hot), F.cross_entropy(by_index, index, weight, reduction="none").sum()
    assert torch.equal(total, loss(found, batch_of(SINGLE)))
    assert torch.equal(total, expected)
    assert torch.equal(torch.autograd.grad(total, found)[0], torch.autograd.grad(expected, by_index)[0])
    assert torch.equal(loss.count(one_hot), loss.count(batch_of(SINGLE)))


@pytest.mark.parametrize("weight", [None, WEIGHT_C])
def test_a_row_of_weight_two_is_the_row_twice_and_of_zero_none(logits: Tensor, weight: Tensor | None) -> None:
    loss, twice = LabelLoss(class_weight_C=weight, smoothing=0.1), [0, 1, 1, 3]
    weighed, repeated = soft_batch(SHARES, (1.0, 2.0, 0.0, 1.0)), soft_batch([SHARES[row] for row in twice])
    torch.testing.assert_close(loss(logits, weighed), loss(logits[twice], repeated))
    torch.testing.assert_close(loss.count(weighed), loss.count(repeated))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_binary_cross_entropy_of_a_probability_for_each_label(logits: Tensor, smoothing: float) -> None:
    target = torch.tensor([[0.9, 0.0, 0.4], [0.0, 0.0, 0.0], [1.0, 1.0, 0.5], [0.2, 0.6, 1.0]])
    loss = LabelLoss(multi_label=True, class_weight_C=WEIGHT_C, smoothing=smoothing)
    weights = torch.tensor([1.0, 0.5, 2.0, 0.0])
    batch = soft_batch([tuple(row) for row in target.tolist()], weights.tolist())
    smooth = target * (1 - smoothing) + smoothing / 2
    rows = F.binary_cross_entropy_with_logits(logits, smooth, weight=WEIGHT_C, reduction="none").sum(1)
    torch.testing.assert_close(loss(logits, batch), (rows * weights).sum())
    assert float(loss.count(batch)) == 3.5 * 5.5


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_binary_cross_entropy_of_every_class(logits: Tensor, smoothing: float) -> None:
    target = torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]]) * (1 - smoothing) + smoothing / 2
    loss = LabelLoss(multi_label=True, smoothing=smoothing)
    total, count = loss(logits, batch_of(SEVERAL)), loss.count(batch_of(SEVERAL))
    assert float(count) == 12
    torch.testing.assert_close(total / count, F.binary_cross_entropy_with_logits(logits, target))


def test_weighted_binary_cross_entropy(logits: Tensor) -> None:
    target = torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])
    loss = LabelLoss(multi_label=True, class_weight_C=WEIGHT_C)
    expected = F.binary_cross_entropy_with_logits(logits, target, weight=WEIGHT_C, reduction="sum")
    torch.testing.assert_close(loss(logits, batch_of(SEVERAL)), expected)
    assert float(loss.count(batch_of(SEVERAL))) == 4 * 5.5


@pytest.mark.parametrize("loss", [LabelLoss(), LabelLoss(class_weight_C=WEIGHT_C), LabelLoss(multi_label=True)])
def test_ghost_rows_count_for_nothing_but_keep_the_graph(logits: Tensor, loss: LabelLoss) -> None:
    logits.requires_grad_()
    ghosts = batch_of(SEVERAL if loss.multi_label else SINGLE, ghost=True)
    total = loss(logits, ghosts)
    assert float(total.detach()) == float(loss.count(ghosts)) == 0
    assert torch.autograd.grad(total, logits)[0].abs().max() == 0


def test_class_logits_of_half_precision_are_summed_in_fp32(logits: Tensor) -> None:
    assert LabelLoss()(logits.bfloat16(), batch_of(SINGLE)).dtype == torch.float32


def test_targets_are_counted() -> None:
    assert float(target_count(batch_of(SINGLE))) == 4 * 2
    assert float(target_count(batch_of(SINGLE, ghost=True))) == 0


KEYWORDS_2K = torch.tensor([[0, 0, 2, 5, 5, 5], [3, 7, 3, 0, 10, 4]])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_keyword_loss_and_gradients(name: str, bias: bool) -> None:
    """A bag: the cross-entropy of each of a row's words, at one and the same vector."""
    pooled, weight, bias_v, _ = layer(bias=bias)
    total = keyword_loss(pooled, KEYWORDS_2K, weight, bias_v, TRANSFORMS[name])
    expected = stock(TRANSFORMS[name], pooled[KEYWORDS_2K[0]], weight, bias_v, KEYWORDS_2K[1])
    torch.testing.assert_close(total, expected)
    found = gradients(total, pooled, weight, bias_v)
    torch.testing.assert_close(found, gradients(expected, pooled, weight, bias_v))
    assert [int(row) for row in found[0].abs().amax(1).nonzero()] == [0, 2, 5]  # rows without a word get nothing


ENDS = (2, 0, 3, 1)  # tokens of each row's continuation up to its rationale's last; the second row has none


def reasoned_batch(labels: list[tuple[int, ...]], *, ghost: bool = False) -> Batch:
    examples = [
        EncodedExample(
            id=f"{i}", input_ids=[1, 2], continuation_ids=[3] * 4, label=one, reason_end=end, keyword_ids=(5,) * end
        )
        for i, (one, end) in enumerate(zip(labels, ENDS, strict=True))
    ]
    batch = collate(examples, pad_token_id=0, num_labels=3)
    return as_ghost(batch) if ghost else batch


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weight", [None, WEIGHT_C])
@pytest.mark.parametrize("multi_label", [False, True])
def test_privileged_loss_and_gradients(
    logits: Tensor, multi_label: bool, weight: Tensor | None, smoothing: float
) -> None:
    """The label is learned where the rationale has been read, and from there the classifier is taught; a row without
    one, here the second, teaches it the label itself.
    """
    batch = reasoned_batch(SEVERAL if multi_label else SINGLE)
    label_loss = LabelLoss(multi_label=multi_label, class_weight_C=weight, smoothing=smoothing)
    privileged = (logits.flip(0, 1) * 1.5).requires_grad_()
    logits, taking_part = logits.requires_grad_(), [0, 2, 3]
    seen, read = logits[taking_part], privileged[taking_part]
    known_at = torch.stack([privileged[0], logits[1], privileged[2], privileged[3]])
    known = label_loss(known_at, batch)
    weight_C = torch.ones(3) if weight is None else weight
    if multi_label:
        p = read.detach().sigmoid()
        taught = -((p * F.logsigmoid(seen) + (1 - p) * F.logsigmoid(-seen)) * weight_C).sum()
    else:
        own = weight_C[[0, 1, 2]]  # of their labels
        taught = -((read.detach().softmax(1) * seen.log_softmax(1)).sum(1) * own).sum()
    total = privileged_loss(logits, privileged, batch, label_loss)
    torch.testing.assert_close(total, known + taught)
    found = gradients(total, logits, privileged)
    torch.testing.assert_close(found, gradients(known + taught, logits, privileged))
    assert [row.abs().max() > 0 for row in found[1]] == [True, False, True, True]


def test_without_rationales_the_privileged_loss_is_the_labels(logits: Tensor) -> None:
    """So a setting that leaves the label to it is no worse off than the pooled baseline where nothing was generated."""
    batch = replace(reasoned_batch(SINGLE), reason_end_B=torch.full((4,), -1))
    assert float(privileged_loss(logits, logits * 2, batch, LabelLoss())) == float(LabelLoss()(logits, batch))
    assert float(COUNTS["privileged"](LabelLoss(), batch)) == float(COUNTS["classification"](LabelLoss(), batch)) == 4


@pytest.mark.parametrize("equal", [0.1, 10.0])
@pytest.mark.parametrize("labels", [SINGLE, SEVERAL, SHARES], ids=["single", "several", "shares"])
def test_equal_class_weights_are_none(logits: Tensor, labels: list[tuple[int, ...]], equal: float) -> None:
    """Only their ratios count, in each half of the privileged loss as in the classification loss."""
    batch = reasoned_batch(SINGLE if labels is SHARES else labels)
    if labels is SHARES:
        batch = replace(batch, label_BC=torch.tensor(SHARES))
    found = []
    for weight_C in (None, torch.full((3,), equal)):
        label_loss = LabelLoss(multi_label=labels is SEVERAL, class_weight_C=weight_C)
        given, privileged = logits.clone().requires_grad_(), (logits.flip(0, 1) * 1.5).requires_grad_()
        loss = privileged_loss(given, privileged, batch, label_loss) / COUNTS["privileged"](label_loss, batch)
        found.append((loss, *gradients(loss, given, privileged)))
    torch.testing.assert_close(found[1], found[0])


def test_a_rows_weight_is_a_factor_of_the_privileged_loss_and_its_count(logits: Tensor) -> None:
    batch, weight_B = reasoned_batch(SINGLE), torch.tensor([2.0, 5.0, 0.0, 0.5])
    rows = [
        privileged_loss(logits, logits * 2, replace(batch, row_weight_B=one_B), LabelLoss()) for one_B in torch.eye(4)
    ]
    weighed = replace(batch, row_weight_B=weight_B)
    total = privileged_loss(logits, logits * 2, weighed, LabelLoss())
    torch.testing.assert_close(total, (torch.stack(rows) * weight_B).sum())
    assert float(COUNTS["privileged"](LabelLoss(), weighed)) == 7.5


def test_ghost_rows_have_no_rationale_and_no_words_but_keep_the_graph(logits: Tensor) -> None:
    ghost = reasoned_batch(SINGLE, ghost=True)
    vectors, weight, _, _ = layer(bias=False)
    logits = logits.requires_grad_()
    assert ghost.keyword_2K is not None and ghost.reason_end_B is not None
    totals = {
        logits: privileged_loss(logits, logits * 2, ghost, LabelLoss()),
        vectors: keyword_loss(vectors, ghost.keyword_2K, weight),
    }
    for given, total in totals.items():
        assert float(total.detach()) == 0
        assert torch.autograd.grad(total, given)[0].abs().max() == 0
    assert float(keyword_count(ghost)) == 0
    assert float(keyword_count(reasoned_batch(SINGLE))) == 6
