"""Every loss against torch's own, and its gradients against autograd's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dhrd import losses
from dhrd.data.collate import as_ghost, collate
from dhrd.data.records import Batch, EncodedExample
from dhrd.losses import (
    COUNTS,
    LabelLoss,
    LogitTransform,
    alignment_loss,
    keyword_count,
    keyword_loss,
    privileged_loss,
    rationale_count,
    reasoning_loss,
    target_count,
)

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


N, D, V = 7, 5, 11
TRANSFORMS = {
    "none": LogitTransform(),
    "scale": LogitTransform(scale=0.25),
    "soft cap": LogitTransform(soft_cap=2.0),
    "scale and soft cap": LogitTransform(scale=3.0, soft_cap=2.0),
}


def layer(*, bias: bool, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """hidden_ND, weight_VD, bias_V, target_N."""
    generator = torch.Generator().manual_seed(1)
    given = [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in ((N, D), (V, D), (V,))]
    return given[0], given[1], given[2] if bias else None, torch.randint(0, V, (N,), generator=generator)


def stock(transform: LogitTransform, hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor) -> Tensor:
    """As transformers computes it: all logits, upcast, then cross-entropy."""
    logits = F.linear(hidden, weight, bias).float() * transform.scale
    if transform.soft_cap is not None:
        logits = transform.soft_cap * torch.tanh(logits / transform.soft_cap)
    return F.cross_entropy(logits, target, reduction="sum")


def gradients(total: Tensor, *given: Tensor | None) -> list[Tensor]:
    return list(torch.autograd.grad(total * 0.37, [tensor for tensor in given if tensor is not None]))


@pytest.mark.parametrize(("chunk_rows", "part_rows"), [(1, 1), (3, 1), (3, 2), (N, 3), (100, 1), (100, 100)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_lm_loss_and_gradients(
    name: str, bias: bool, chunk_rows: int, part_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "_CHUNK_BYTES", 4 * chunk_rows * V)
    monkeypatch.setattr(losses, "_part_logits", lambda _: part_rows * V)
    hidden, weight, bias_v, target = layer(bias=bias)
    total = reasoning_loss(hidden, target, weight, bias_v, TRANSFORMS[name])
    expected = stock(TRANSFORMS[name], hidden, weight, bias_v, target)
    torch.testing.assert_close(total, expected)
    found = gradients(total, hidden, weight, bias_v)
    assert len(found) == 2 + bias
    torch.testing.assert_close(found, gradients(expected, hidden, weight, bias_v))


@pytest.mark.parametrize("chunk_rows", [2, 100])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_target_of_several_rows_counts_for_each(name: str, chunk_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "_CHUNK_BYTES", 4 * chunk_rows * V)
    hidden, weight, bias, target = layer(bias=True)
    count = torch.tensor([1.0, 4.0, 2.0, 1.0, 7.0, 1.0, 3.0])
    again = torch.arange(N).repeat_interleave(count.long())
    total = reasoning_loss(hidden, target, weight, bias, TRANSFORMS[name], count_N=count)
    expected = reasoning_loss(hidden[again], target[again], weight, bias, TRANSFORMS[name])
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(gradients(total, hidden, weight, bias), gradients(expected, hidden, weight, bias))


def test_counts_do_not_overflow_half_precision() -> None:
    hidden, weight, _, target = layer(bias=False, dtype=torch.float16)
    count = torch.full((N,), 300.0)
    found = gradients(reasoning_loss(hidden, target, weight, count_N=count) / 300, hidden, weight)
    expected = gradients(reasoning_loss(hidden, target, weight), hidden, weight)
    assert all(tensor.isfinite().all() for tensor in found)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)


def test_no_more_logits_than_a_chunk_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "_CHUNK_BYTES", 4 * 2 * V)
    sizes: list[int] = []
    linear = F.linear

    def measured(*given: Any) -> Tensor:
        sizes.append(linear(*given).shape[0])
        return linear(*given)

    monkeypatch.setattr(F, "linear", measured)
    hidden, weight, _, target = layer(bias=False)
    reasoning_loss(hidden, target, weight)
    assert sizes == [2, 2, 2, 1]


def test_without_targets_the_loss_is_zero_and_its_graph_runs_through_the_head() -> None:
    hidden, weight, bias, _ = layer(bias=True)
    total = reasoning_loss(hidden[:0], torch.zeros(0, dtype=torch.long), weight, bias)
    assert float(total.detach()) == 0
    for gradient in gradients(total, weight, bias):
        assert gradient.abs().max() == 0


@pytest.mark.parametrize("frozen", ["hidden", "weight", "bias"])
def test_what_is_frozen_gets_no_gradient(frozen: str) -> None:
    hidden, weight, bias, target = layer(bias=True)
    given = {"hidden": hidden, "weight": weight, "bias": bias}
    expected = dict(
        zip(given, gradients(stock(LogitTransform(), *given.values(), target), *given.values()), strict=True)
    )
    given[frozen] = given[frozen].detach()  # type: ignore[union-attr]
    total = reasoning_loss(given["hidden"], target, given["weight"], given["bias"])
    left = [name for name in given if name != frozen]
    torch.testing.assert_close(gradients(total, *(given[n] for n in left)), [expected[n] for n in left])


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    calls: list[int] = []
    monkeypatch.setattr(losses, "_add_gradients", lambda *_: calls.append(1))
    yield calls


def test_without_grad_no_gradient_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight, _, target = layer(bias=False)
    expected = float(stock(LogitTransform(), hidden, weight, None, target).detach())
    with counting(monkeypatch) as calls:
        with torch.no_grad():
            total = reasoning_loss(hidden, target, weight)
        assert calls == []
        assert not total.requires_grad
        reasoning_loss(hidden, target, weight)
        assert calls == [1]
    assert float(total) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True], ids=["weights", "autocast"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_half_precision(name: str, autocast: bool, dtype: torch.dtype) -> None:
    """Products in half precision, softmax and sum in fp32, gradients in the type of what they belong to."""
    hidden, weight, bias, target = layer(bias=True, dtype=torch.float32 if autocast else dtype)
    exact = [tensor.detach().float().requires_grad_() for tensor in (hidden, weight, bias)]  # type: ignore[union-attr]
    expected = stock(TRANSFORMS[name], *exact, target)
    with torch.autocast("cpu", dtype) if autocast else nullcontext():
        total = reasoning_loss(hidden, target, weight, bias, TRANSFORMS[name])
    assert total.dtype == torch.float32
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(total, expected, rtol=4 * eps, atol=0)
    for found, exact_one in zip(gradients(total, hidden, weight, bias), gradients(expected, *exact), strict=True):
        assert found.dtype == (torch.float32 if autocast else dtype)
        torch.testing.assert_close(found.float(), exact_one, rtol=0, atol=8 * eps * float(exact_one.abs().max()))


def test_small_probabilities_survive_fp16() -> None:
    """A wrong token's probability of 2.5e-8 is below fp16's smallest number, and there are many wrong tokens."""
    hidden, weight, target = torch.ones(1, 1), torch.ones(100_000, 1), torch.tensor([0])
    weight[0] = 18.5
    exact = [hidden.clone().requires_grad_(), weight.clone().requires_grad_()]
    given = [hidden.requires_grad_(), weight.requires_grad_()]
    with torch.autocast("cpu", torch.float16):
        total = reasoning_loss(given[0], target, given[1])
    expected = gradients(stock(LogitTransform(), exact[0], exact[1], None, target), *exact)
    assert 0 < float(expected[1][1]) < 3e-8
    torch.testing.assert_close(gradients(total, *given)[1][1:], expected[1][1:], rtol=1e-2, atol=0)


@pytest.mark.parametrize("chunk_rows", [64, 1000])
@pytest.mark.parametrize("sizes", [(100.0, 0.05), (0.05, 100.0)], ids=["hidden states", "weights"])
def test_large_sums_survive_fp16(sizes: tuple[float, float], chunk_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tokens alike, hidden states or weights large, as trained models have them: no sum leaves the range."""
    monkeypatch.setattr(losses, "_CHUNK_BYTES", chunk_rows * 2 * V)
    generator, count = torch.Generator().manual_seed(1), 600
    hidden = sizes[0] * torch.rand((count, D), generator=generator)
    weight = sizes[1] * torch.randn((V, D), generator=generator)
    target = weight.sum(1).argmin().repeat(count)  # the least likely everywhere: the largest gradient
    exact = [hidden.clone().requires_grad_(), weight.clone().requires_grad_()]
    given = [hidden.requires_grad_(), weight.requires_grad_()]
    with torch.autocast("cpu", torch.float16):
        total = reasoning_loss(given[0], target, given[1])
    expected = gradients(stock(LogitTransform(), exact[0], exact[1], None, target), *exact)
    for found, exact_one in zip(gradients(total, *given), expected, strict=True):
        torch.testing.assert_close(found, exact_one, rtol=0, atol=0.02 * float(exact_one.abs().max()))


def test_a_soft_cap_bounds_logits() -> None:
    capped = LogitTransform(scale=2.0, soft_cap=5.0)(torch.tensor([-1e4, 0.0, 0.1, 1e4]))
    torch.testing.assert_close(capped, torch.tensor([-5.0, 0.0, 5 * float(torch.tanh(torch.tensor(0.04))), 5.0]))


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


def states() -> tuple[Tensor, Tensor]:
    """projected_BD, goal_BD."""
    generator = torch.Generator().manual_seed(2)
    first, second = (torch.randn((4, D), generator=generator) for _ in range(2))
    return first.requires_grad_(), second.requires_grad_()


def test_alignment_loss_and_gradients() -> None:
    (projected, goal), batch = states(), reasoned_batch(SINGLE)
    assert batch.reason_end_B is not None and batch.reason_end_B.tolist() == [3, -1, 4, 2]
    total = alignment_loss(projected, goal, batch.reason_end_B)
    goals = [(i, goal[i].detach()) for i in (0, 2, 3)]
    expected = sum(1 - projected[i] @ h / (projected[i].norm() * h.norm()) for i, h in goals)
    torch.testing.assert_close(total, expected)
    assert float(rationale_count(batch)) == 3
    gradient, into_goal = torch.autograd.grad(total, [projected, goal], retain_graph=True, allow_unused=True)
    assert into_goal is None  # sg
    torch.testing.assert_close(gradient, *torch.autograd.grad(expected, projected))  # type: ignore[arg-type]
    assert gradient[1].abs().max() == 0 < gradient[[0, 2, 3]].abs().amax(1).min()


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weight", [None, WEIGHT_C])
@pytest.mark.parametrize("multi_label", [False, True])
def test_privileged_loss_and_gradients(
    logits: Tensor, multi_label: bool, weight: Tensor | None, smoothing: float
) -> None:
    """The label is learned where the rationale has been read, and only from there is the classifier taught."""
    batch = reasoned_batch(SEVERAL if multi_label else SINGLE)
    label_loss = LabelLoss(multi_label=multi_label, class_weight_C=weight, smoothing=smoothing)
    privileged = (logits.flip(0, 1) * 1.5).requires_grad_()
    logits, taking_part = logits.requires_grad_(), [0, 2, 3]
    seen, read = logits[taking_part], privileged[taking_part]
    if multi_label:
        target = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 1, 1]]) * (1 - smoothing) + smoothing / 2
        known = F.binary_cross_entropy_with_logits(read, target, weight, reduction="sum")
        p = read.detach().sigmoid()
        taught = -(p * F.logsigmoid(seen) + (1 - p) * F.logsigmoid(-seen)).sum()
    else:
        target = torch.tensor([0, 1, 2])
        known = F.cross_entropy(read, target, weight, reduction="sum", label_smoothing=smoothing)
        taught = -(read.detach().softmax(1) * seen.log_softmax(1)).sum()
    total = privileged_loss(logits, privileged, batch, label_loss)
    torch.testing.assert_close(total, known + taught)
    found = gradients(total, logits, privileged)
    torch.testing.assert_close(found, [*gradients(taught, logits), *gradients(known, privileged)])
    assert all(gradient[1].abs().max() == 0 < gradient[0].abs().max() for gradient in found)


def test_a_rows_weight_is_a_factor_of_the_privileged_loss_and_its_count(logits: Tensor) -> None:
    batch, weight_B = reasoned_batch(SINGLE), torch.tensor([2.0, 5.0, 0.0, 0.5])
    rows = [
        privileged_loss(logits, logits * 2, replace(batch, row_weight_B=one_B), LabelLoss()) for one_B in torch.eye(4)
    ]
    weighed = replace(batch, row_weight_B=weight_B)
    total = privileged_loss(logits, logits * 2, weighed, LabelLoss())
    torch.testing.assert_close(total, (torch.stack(rows) * weight_B).sum())
    assert (float(rows[1]), float(COUNTS["privileged"](LabelLoss(), weighed))) == (0, 2.5)


def test_ghost_rows_have_no_rationale_and_no_words_but_keep_the_graph(logits: Tensor) -> None:
    (projected, goal), ghost = states(), reasoned_batch(SINGLE, ghost=True)
    vectors, weight, _, _ = layer(bias=False)
    logits = logits.requires_grad_()
    assert ghost.keyword_2K is not None and ghost.reason_end_B is not None
    totals = {
        projected: alignment_loss(projected, goal, ghost.reason_end_B),
        logits: privileged_loss(logits, logits * 2, ghost, LabelLoss()),
        vectors: keyword_loss(vectors, ghost.keyword_2K, weight),
    }
    for given, total in totals.items():
        assert float(total.detach()) == 0
        assert torch.autograd.grad(total, given)[0].abs().max() == 0
    assert float(rationale_count(ghost)) == float(keyword_count(ghost)) == 0
    assert float(keyword_count(reasoned_batch(SINGLE))) == 6
