"""The LM loss without logits held, against transformers' own, and its gradients against autograd's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dhrd import lm_loss
from dhrd.lm_loss import LogitTransform, reasoning_loss
from helpers.lm_layer import TRANSFORMS, D, N, V, gradients, layer, stock


@pytest.mark.parametrize(("chunk_rows", "part_rows"), [(1, 1), (3, 1), (3, 2), (N, 3), (100, 1), (100, 100)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_lm_loss_and_gradients(
    name: str, bias: bool, chunk_rows: int, part_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm_loss, "_CHUNK_BYTES", 4 * chunk_rows * V)
    monkeypatch.setattr(lm_loss, "_part_logits", lambda _: part_rows * V)
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
    monkeypatch.setattr(lm_loss, "_CHUNK_BYTES", 4 * chunk_rows * V)
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
    monkeypatch.setattr(lm_loss, "_CHUNK_BYTES", 4 * 2 * V)
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
    monkeypatch.setattr(lm_loss, "_add_gradients", lambda *_: calls.append(1))
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
    monkeypatch.setattr(lm_loss, "_CHUNK_BYTES", chunk_rows * 2 * V)
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
