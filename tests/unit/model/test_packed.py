"""Packed linear layers give what plain ones give, and leave alone what they cannot be."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dhrd.model.flops import linear_shapes
from dhrd.model.packed import PackedLinear, pack_linear_layers
from helpers.models import make_causal_lm

pytestmark = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no bf16 products"
)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3", "gpt_neox"])
def test_a_packed_backbone_answers_as_the_plain_one(family: str) -> None:
    body = make_causal_lm(family).base_model.to(torch.bfloat16).eval()
    shapes = linear_shapes(body)
    for num_rows, num_tokens in ((1, 1), (2, 7), (3, 40)):
        input_ids = torch.arange(num_rows * num_tokens).view(num_rows, num_tokens) % 50 + 3
        with torch.inference_mode():
            plain = body(input_ids=input_ids).last_hidden_state
            num_packed = pack_linear_layers(body)
            packed = body(input_ids=input_ids).last_hidden_state
        torch.testing.assert_close(packed.float(), plain.float(), rtol=0.03, atol=0.03)
    assert num_packed == 0  # the second time there is nothing left to pack
    assert sum(isinstance(module, PackedLinear) for module in body.modules()) == sum(shapes.values())
    assert linear_shapes(body) == shapes


def test_plain_weights_are_not_kept_beside_packed_ones() -> None:
    body = nn.Sequential(nn.Linear(8, 16, bias=True), nn.Linear(16, 4, bias=False)).to(torch.bfloat16)
    assert pack_linear_layers(body) == 2
    assert [tuple(weights.shape) for weights in body.parameters()] == [(16,)]


def test_other_types_and_other_layers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(nn.Linear):
        pass

    body = nn.Sequential(nn.Linear(8, 8), Own(8, 8).to(torch.bfloat16))
    assert pack_linear_layers(body) == 0
    assert type(body[0]) is nn.Linear
    wrong = nn.Sequential(nn.Linear(8, 8).to(torch.bfloat16))
    monkeypatch.setattr(PackedLinear, "forward", lambda self, input: torch.zeros(3, 8))
    assert pack_linear_layers(wrong) == 0
    assert type(wrong[0]) is nn.Linear
