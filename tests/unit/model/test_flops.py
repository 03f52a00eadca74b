"""Operations counted from the weights, against a count by hand and torch's own counter."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dhrd.model.flops import ForwardCost, causal_pairs, forward_cost, linear_shapes
from helpers.models import make_causal_lm


def test_linear_layers_of_a_llama() -> None:
    """Hidden 16, intermediate 32, two heads of 8 and one of keys and values, two layers."""
    shapes = linear_shapes(make_causal_lm("llama").base_model)
    assert shapes == {(16, 16): 4, (16, 8): 4, (16, 32): 4, (32, 16): 2}
    weights = 4 * 256 + 4 * 128 + 4 * 512 + 2 * 512
    assert forward_cost(make_causal_lm("llama").base_model) == ForwardCost(2 * weights, 4 * 2 * 2 * 8)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_torch_counts_the_same_products(family: str) -> None:
    """Eager attention meets every key with every query: T x T pairs."""
    body = make_causal_lm(family).eval().base_model
    body.set_attn_implementation("eager")
    num_tokens = 13
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        body(input_ids=torch.arange(num_tokens)[None], use_cache=False)
    cost = forward_cost(body)
    assert cost.flops(num_tokens, num_tokens**2) == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_pairs_of_a_causal_sequence() -> None:
    assert [causal_pairs(n) for n in (0, 1, 4)] == [0, 1, 10]
    assert causal_pairs(2, 3) == causal_pairs(5) - causal_pairs(3)


def test_a_pair_in_tokens() -> None:
    assert ForwardCost(200, 50).tokens_per_pair == 0.25
    assert linear_shapes(nn.Linear(3, 5)) == {(3, 5): 1}
