"""Whether a checkpoint, its tokenizer and the sequences fit together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, Phi3Config

import dhrd
from dhrd.errors import ArtifactError, ModelError
from dhrd.model.fit import REASONING_HEAD, check_context, check_special_tokens, check_whole, put_reasoning_head
from helpers.models import make_causal_lm, run_config, save_backbone, texts
from helpers.rows import make_tokenizer

LONGROPE = {"type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}


def test_positions_scaled_by_the_longest_row_are_refused_over_the_original_context() -> None:
    config = Phi3Config(
        hidden_size=16,
        num_attention_heads=2,
        max_position_embeddings=256,
        original_max_position_embeddings=64,
        rope_scaling=dict(LONGROPE),
        pad_token_id=0,
    )
    check_context(config, 64)
    with pytest.raises(ModelError, match=r"65 tokens are over the original context \(64\) of this backbone's longrope"):
        check_context(config, 65)


@pytest.mark.parametrize("original", [None, 128])
def test_dynamic_positions_are_refused_over_the_original_context(original: int | None) -> None:
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
    if original is not None:
        rope["original_max_position_embeddings"] = original
    config = LlamaConfig(max_position_embeddings=256, rope_parameters=rope)
    check_context(config, original or 256)
    with pytest.raises(ModelError, match="dynamic positions, whose scaling depends on the longest row"):
        check_context(config, (original or 256) + 1)


@pytest.mark.parametrize("kind", ["linear", "yarn", "llama3"])
def test_positions_scaled_by_the_config_alone_are_not(kind: str) -> None:
    rope = {"rope_type": kind, "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 64}
    rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0} if kind == "llama3" else {}
    check_context(LlamaConfig(max_position_embeddings=256, rope_parameters=rope), 200)


@pytest.mark.parametrize("family", ["gpt2", "opt", "llama", "gemma3"])
def test_sequences_over_the_context_are_refused(family: str, tmp_path: Path) -> None:
    config = make_causal_lm(family).config
    check_context(config, 256)
    with pytest.raises(ModelError, match=r"257 tokens are over the backbone's context \(256\); lower data"):
        check_context(config, 257)


def test_the_context_is_checked_before_training(tmp_path: Path) -> None:
    name = save_backbone(tmp_path / "backbone", "llama", max_position_embeddings=100)
    config = run_config(model={"name_or_path": name}, output_dir=str(tmp_path / "out"))
    with pytest.raises(ModelError, match=r"192 tokens are over the backbone's context \(100\); lower data"):
        dhrd.train(config, train_dataset=texts(), device="cpu")


def test_an_artifacts_head_is_put_under_the_familys_name(tmp_path: Path) -> None:
    model = make_causal_lm("qwen2")
    weight = torch.randn_like(model.get_output_embeddings().weight)
    save_file({"embed_out.weight": weight}, tmp_path / REASONING_HEAD)
    assert put_reasoning_head(model, tmp_path / REASONING_HEAD) == {"lm_head.weight"}
    assert torch.equal(model.get_output_embeddings().weight, weight)
    save_file({"lm_head.weight": weight[:1]}, tmp_path / REASONING_HEAD)
    with pytest.raises(ArtifactError, match=r"reasoning_head\.safetensors: damaged, or of another model"):
        put_reasoning_head(model, tmp_path / REASONING_HEAD)


def test_a_body_that_lacks_a_weight_is_refused_and_a_head_is_told(tmp_path: Path) -> None:
    model = make_causal_lm("qwen2")
    assert not check_whole(model, [], tmp_path)
    assert check_whole(model, ["lm_head.weight"], tmp_path)
    with pytest.raises(ModelError, match=r"lacks 1 of the model's weights, for example model\.norm\.weight"):
        check_whole(model, ["model.norm.weight", "lm_head.weight"], tmp_path)
    save_file({"lm_head.weight": model.lm_head.weight.detach() + 1}, tmp_path / REASONING_HEAD)
    assert not check_whole(model, ["lm_head.weight"], tmp_path)  # the artifact's own


def test_a_special_token_without_a_row_is_refused() -> None:
    tokenizer = make_tokenizer()
    check_special_tokens(tokenizer, len(tokenizer), "tiny")
    with pytest.raises(ModelError, match=r"the tokenizer's pad token .* is number \d+, but the embeddings have 0"):
        check_special_tokens(tokenizer, 0, "tiny")
