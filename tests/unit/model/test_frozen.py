"""The frozen blocks apart from the rest: what they give is what a whole pass hands to the first trained block."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import BloomConfig, OpenAIGPTConfig, PretrainedConfig

from dhrd.errors import ConfigError
from dhrd.model.adapters import blocks
from dhrd.model.backbone import Backbone
from dhrd.model.frozen import check_frozen, frozen_states, instead_of_frozen
from helpers.models import VOCAB_SIZE, causal_lm_of, make_batch, make_model, rows
from helpers.rows import make_tokenizer


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
def test_kept_states_give_the_hidden_states_of_a_whole_pass(family: str) -> None:
    model = make_model(family, freeze_layers=1).eval()
    batch = make_batch(rows(), model)
    kept_BTD = frozen_states(model, batch)
    assert not kept_BTD.requires_grad
    with torch.no_grad():
        whole_BTD = model.hidden_states(batch)
        with instead_of_frozen(model, batch):  # which has none: they are run
            assert torch.equal(model.hidden_states(batch), whole_BTD)
        found_BTD = model.hidden_states(replace(batch, frozen_BTD=kept_BTD))
        other_BTD = model.hidden_states(replace(batch, frozen_BTD=kept_BTD * 2))
        again_BTD = model.hidden_states(batch)  # the blocks are their own again
    torch.testing.assert_close(found_BTD, whole_BTD)
    assert (other_BTD - whole_BTD).abs().max() > 1e-3
    assert torch.equal(again_BTD, whole_BTD)


@pytest.mark.parametrize(
    "config",
    [
        BloomConfig(vocab_size=VOCAB_SIZE, hidden_size=16, n_layer=3, n_head=2),
        OpenAIGPTConfig(
            **{"vocab_size": VOCAB_SIZE, "n_embd": 16, "n_layer": 3, "n_head": 2},
            **{"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0},
        ),
    ],
    ids=lambda config: config.model_type,
)
def test_blocks_that_give_more_than_a_tensor_are_stood_in_for_likewise(config: PretrainedConfig) -> None:
    """Their models take the first of what a block gives."""
    model = make_model(backbone=Backbone(causal_lm_of(config), make_tokenizer(), "tiny"), freeze_layers=2).eval()
    batch = make_batch(rows(), model)
    check_frozen(model, batch)
    kept_BTD = frozen_states(model, batch)
    with torch.no_grad():
        whole_BTD = model.hidden_states(batch)
        found_BTD = model.hidden_states(replace(batch, frozen_BTD=kept_BTD))
    torch.testing.assert_close(found_BTD[batch.attention_mask_BT], whole_BTD[batch.attention_mask_BT])


@pytest.mark.parametrize("error", [KeyError, RuntimeError])
def test_a_model_that_needs_more_from_its_blocks_is_refused(error: type[Exception]) -> None:
    model, notes = make_model(freeze_layers=1), dict[str, bool]()
    lower, upper = blocks(model.causal_lm)

    def needs(*_: Any) -> None:
        if not notes.pop("below", False):
            raise error("shapes do not match")

    lower.self_attn.register_forward_hook(lambda *_: notes.update(below=True))
    upper.register_forward_hook(needs)
    with pytest.raises(ConfigError, match=r"cache_frozen: LlamaForCausalLM cannot run from .*; leave cache_frozen"):
        check_frozen(model, make_batch(rows(), model))


@pytest.mark.parametrize("dropout", ["embd_pdrop", "attn_pdrop", "resid_pdrop"])
def test_dropout_in_the_frozen_part_is_refused(dropout: str) -> None:
    model = make_model("gpt2", freeze_layers=1, config={dropout: 0.1})
    batch, before = make_batch(rows(), model), torch.get_rng_state()
    with pytest.raises(ConfigError, match=r"training.cache_frozen: the frozen part of GPT2LMHeadModel has dropout"):
        check_frozen(model, batch)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.hidden_states(batch).requires_grad  # left as it was
