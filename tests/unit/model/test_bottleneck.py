"""A backbone is tried on a few tokens before a reasoning bottleneck relies on its masks."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, BloomConfig, DynamicCache

from dhrd.errors import ModelError
from dhrd.model import masks
from dhrd.model.bottleneck import check_bottleneck, keep_last
from helpers.models import FAMILIES, make_causal_lm


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_that_is_promised_keeps_to_it(family: str) -> None:
    causal_lm = make_causal_lm(family).train()
    check_bottleneck(causal_lm, 2)
    assert causal_lm.training


def test_a_family_whose_attention_a_mask_cannot_say_is_refused() -> None:
    config = BloomConfig(vocab_size=264, hidden_size=16, n_layer=2, n_head=2)
    with pytest.raises(ModelError, match="reasoning_bottleneck: BloomForCausalLM cannot have it"):
        check_bottleneck(AutoModelForCausalLM.from_config(config), 1)


def test_a_mask_that_windows_are_wrong_in_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        masks, "_near", lambda position_BT, key_BK, window: key_BK[:, None, :] >= position_BT[..., None]
    )
    with pytest.raises(ModelError, match="its hidden states differ with the mask"):
        check_bottleneck(make_causal_lm("mistral"), 2)


def test_a_cache_is_cut_to_its_last_tokens() -> None:
    cache, causal_lm = DynamicCache(), make_causal_lm("llama")
    with torch.no_grad():
        causal_lm.base_model(input_ids=torch.arange(7)[None], past_key_values=cache, use_cache=True)
    last = [layer.keys[..., -2:, :].clone() for layer in cache.layers]
    assert keep_last(cache, 2) is cache
    assert all(torch.equal(layer.keys, keys) for layer, keys in zip(cache.layers, last, strict=True))
    assert cache.layers[0].values.shape[-2] == 2
