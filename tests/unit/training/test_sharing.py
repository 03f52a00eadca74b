"""Whether a run shares text: what the settings ask for, as far as the model allows it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from dhrd.config import TrainingSettings
from dhrd.data.sharing import NOTHING_SHARED
from dhrd.errors import ConfigError
from dhrd.training.sharing import _launch, choose_sharing, dropout_of
from helpers.models import FAMILIES, make_model


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_shares_by_default(family: str) -> None:
    sharing = choose_sharing(TrainingSettings(), make_model(family))
    assert sharing.pair is not None and 0 < sharing.pair < 1
    assert not sharing.dense and not sharing.pack_rows


def test_settings_reach_it() -> None:
    model = make_model()
    assert choose_sharing(TrainingSettings(share_prefixes=False), model) == NOTHING_SHARED
    packed = choose_sharing(
        TrainingSettings(share_prefixes=False, pack_rows=True, max_tokens_per_micro_batch=99), model
    )
    assert (packed.pair, packed.pack_rows, packed.max_tokens) == (None, True, 99)


def test_recomputed_layers_meet_every_key() -> None:
    assert choose_sharing(TrainingSettings(gradient_checkpointing=True), make_model()).dense


DROPOUT: dict[str, dict[str, Any]] = {
    "a layer": {"family": "gpt2", "config": {"resid_pdrop": 0.1}},
    "attention": {"family": "llama", "config": {"attention_dropout": 0.3}},
    "adapters": {"lora": {"dropout": 0.1}},
}


@pytest.mark.parametrize("case", DROPOUT)
def test_dropout_is_refused_with_the_reason_or_shared(case: str, caplog: pytest.LogCaptureFixture) -> None:
    model, before = make_model(**DROPOUT[case]), torch.get_rng_state()
    with caplog.at_level(logging.INFO, "dhrd"):
        assert choose_sharing(TrainingSettings(), model) == NOTHING_SHARED
    assert "share_prefixes: every row runs by itself: the backbone has dropout" in caplog.text
    with pytest.raises(ConfigError, match=r"training.share_prefixes: .* set it to 0, or training.share_dropout"):
        choose_sharing(TrainingSettings(share_prefixes=True), model)
    assert choose_sharing(TrainingSettings(share_prefixes=True, share_dropout=True), model).pair is not None
    assert choose_sharing(TrainingSettings(pack_rows=True), model).pack_rows  # no token is two rows'
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_before_the_head_is_each_rows_own() -> None:
    assert dropout_of(make_model(dropout=0.5)) == ""
    assert dropout_of(make_model(lora={"dropout": 0.0})) == ""


def test_a_family_that_is_not_exact_trains_each_row_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    model = make_model()
    model.causal_lm.base_model.layers[0].register_forward_hook(lambda _, __, output: output + output.cumsum(1))
    with caplog.at_level(logging.INFO, "dhrd"):
        assert choose_sharing(TrainingSettings(), model) == NOTHING_SHARED
    assert caplog.text.count("LlamaModel returns different hidden states") == 1
    for setting in ("share_prefixes", "pack_rows"):
        with pytest.raises(ConfigError, match=f"training.{setting}: LlamaModel returns different hidden states"):
            choose_sharing(TrainingSettings(**{setting: True}), model)


def test_a_gpu_waits_for_launches_the_longer_the_smaller_the_model() -> None:
    assert choose_sharing(TrainingSettings(), make_model()).launch == 0
    narrow, wide = (make_model().causal_lm.base_model.to("meta") for _ in range(2))
    narrow.config.hidden_size, wide.config.hidden_size = 576, 4096
    assert (_launch(narrow), _launch(wide)) == (16_000, 316)
