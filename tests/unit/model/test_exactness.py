"""Whether a model may share text is found out on it, not believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from transformers import AutoModelForCausalLM, BloomConfig, DogeConfig, PreTrainedModel

from dhrd.inference.engine.exactness import engine_states
from dhrd.model import masks
from dhrd.model.exactness import why_not_exact
from helpers.models import FAMILIES, VOCAB_SIZE, causal_lm_of, make_causal_lm

WAYS = {"engine": engine_states, "training": None}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_that_is_promised_is_exact(family: str, way: str) -> None:
    assert why_not_exact(make_causal_lm(family).eval().base_model, WAYS[way]) == ""


def test_a_lack_of_memory_is_no_reason() -> None:
    def too_large(_body: PreTrainedModel, _rows: Sequence[list[int]]) -> list[torch.Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        why_not_exact(make_causal_lm("llama").base_model, too_large)


def test_mixed_precision_around_it_is_no_difference() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert why_not_exact(make_causal_lm("llama").eval().base_model) == ""


def test_a_quantized_model_rounds_more_than_its_dtype_says() -> None:
    """Its weights are in fp32 where they are not quantized, and its 4-bit layers multiply in bf16."""
    body = make_causal_lm("llama").eval().base_model
    body.layers[0].register_forward_hook(lambda block, given, output: output + 1e-4 * output.cumsum(1))
    assert "different hidden states" in why_not_exact(body)
    body.layers[0].mlp.packed = torch.nn.Parameter(torch.zeros(1, dtype=torch.uint8), requires_grad=False)
    assert why_not_exact(body) == ""


def linear_layers(body: PreTrainedModel) -> None:
    body.config.layer_types = ["linear_attention"]


def looks_at_places(body: PreTrainedModel) -> None:
    """As a family with a recurrent state would: each token is mixed with what lies before it, whoever's it is."""
    body.layers[0].register_forward_hook(lambda block, given, output: output + 0.1 * output.cumsum(1))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (linear_layers, "attend in ways that dhrd does not know"),
        (looks_at_places, "returns different hidden states with it"),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_a_model_that_is_not_is_told_why(change: Callable[[PreTrainedModel], None], reason: str, way: str) -> None:
    body = make_causal_lm("llama").eval().base_model
    change(body)
    assert why_not_exact(body, WAYS[way]).startswith("LlamaModel")
    assert reason in why_not_exact(body, WAYS[way])


@pytest.mark.parametrize("way", WAYS)
def test_attention_that_a_mask_cannot_say(way: str) -> None:
    config = BloomConfig(vocab_size=264, hidden_size=16, n_layer=2, n_head=2)
    assert "BloomModel" in why_not_exact(AutoModelForCausalLM.from_config(config).eval().base_model, WAYS[way])


def test_layers_with_masks_of_their_own() -> None:
    small = {"vocab_size": VOCAB_SIZE, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    body = causal_lm_of(DogeConfig(**small, num_attention_heads=2)).eval().base_model
    assert why_not_exact(body) == "DogeModel does not support it (its layers attend with masks of their own)"


@pytest.mark.parametrize("way", WAYS)
def test_a_mask_by_place_is_noticed(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        masks, "_near", lambda position_BT, key_BK, window: key_BK[:, None, :] >= position_BT[..., None]
    )
    assert "returns different hidden states" in why_not_exact(make_causal_lm("mistral").eval().base_model, WAYS[way])
