"""Attention block by block is attention with the whole mask, its gradients too."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from dhrd.model import tree_attention as attention
from dhrd.model.tree_attention import blocks_of, blockwise, in_blocks
from helpers.models import make_causal_lm

S, W, D = 2, 37, 8


def mask(seed: int = 0) -> Tensor:
    """Each token sees itself and some of those before it."""
    seen = torch.rand(S, W, W, generator=torch.Generator().manual_seed(seed)) < 0.2
    seen = (seen & torch.ones(W, W).tril().bool()) | torch.eye(W, dtype=torch.bool)
    return torch.where(seen, 0.0, torch.finfo(torch.float32).min)[:, None]


def given(num_heads: int, num_key_heads: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(S, n, W, D, generator=generator).requires_grad_() for n in
            (num_heads, num_key_heads, num_key_heads)]  # fmt: skip


def attend(mask_S1WK: Tensor, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
    config, groups = SimpleNamespace(_attn_implementation="sdpa"), query.shape[1] // key.shape[1]
    module = SimpleNamespace(num_key_value_groups=groups, is_causal=True, training=True)
    with blockwise(config, mask_S1WK):
        assert config._attn_implementation == "dhrd_blocks"
        output, _ = attention._attention(module, query, key, value, mask_S1WK, scaling=0.3, **options)
    assert config._attn_implementation == "sdpa"
    return output


@pytest.mark.parametrize("num_queries", [1, 8, 64])
@pytest.mark.parametrize(("num_heads", "num_key_heads"), [(4, 4), (6, 2)])
def test_output_and_gradients(
    num_heads: int, num_key_heads: int, num_queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "_BLOCK_QUERIES", num_queries)
    query, key, value = given(num_heads, num_key_heads)
    many = [x.repeat_interleave(num_heads // num_key_heads, 1) for x in (key, value)]
    expected = torch.nn.functional.scaled_dot_product_attention(query, *many, mask(), scale=0.3).transpose(1, 2)
    found = attend(mask(), query, key, value)
    torch.testing.assert_close(found, expected)
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    ours, theirs = (torch.autograd.grad((x * weight).sum(), [query, key, value]) for x in (found, expected))
    torch.testing.assert_close(ours, theirs)


def test_keys_that_nobody_sees_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_BLOCK_QUERIES", 4)
    seen = torch.eye(8, dtype=torch.bool)
    seen[4:, 1] = True
    first, second = blocks_of(torch.where(seen, 0.0, -1e9)[None, None])
    assert (first.queries, first.spans) == (slice(0, 4), (slice(0, 4),))
    assert (second.queries, second.spans) == (slice(4, 8), (slice(1, 2), slice(4, 8)))
    assert second.mask_11QK.shape == (1, 1, 4, 5)
    assert (second.mask_11QK[0, 0] == 0).tolist() == [[True, *(i == j for j in range(4))] for i in range(4)]


def test_dropout_of_weights_goes_the_dense_way() -> None:
    torch.manual_seed(0)
    assert not torch.equal(attend(mask(), *given(4, 4), dropout=0.5), attend(mask(), *given(4, 4), dropout=0.5))


def test_where_blocks_are_used() -> None:
    body = make_causal_lm("llama").base_model
    assert in_blocks(body)
    body.set_attn_implementation("eager")
    assert not in_blocks(body)
    recomputing = make_causal_lm("llama")
    recomputing.gradient_checkpointing_enable()
    assert not in_blocks(recomputing.base_model)
