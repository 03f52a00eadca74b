"""The classification head."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, CohereConfig, GraniteConfig, PretrainedConfig

from dhrd.config import ModelSettings
from dhrd.errors import ModelError
from dhrd.model.backbone import Backbone
from dhrd.model.dual_head import DualHeadModel
from dhrd.model.heads import ClassificationHead, label_word_rows
from helpers.models import VOCAB_SIZE, make_backbone, make_batch, rows
from helpers.rows import make_tokenizer


def test_a_linear_head_is_one_matrix_named_score() -> None:
    assert {name: tuple(p.shape) for name, p in ClassificationHead(8, 3).named_parameters()} == {"score.weight": (3, 8)}


def test_an_mlp_head_is_the_papers_two_layers() -> None:
    head = ClassificationHead(8, 3, kind="mlp", dropout=0.0)
    assert set(dict(head.named_parameters())) == {"dense.weight", "dense.bias", "score.weight"}
    pooled = torch.randn(4, 8)
    assert head.dense is not None
    hidden = torch.nn.functional.gelu(pooled @ head.dense.weight.T + head.dense.bias)
    torch.testing.assert_close(head(pooled), hidden @ head.score.weight.T)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_the_seed_alone_decides_the_weights(kind: str) -> None:
    heads = []
    for seed, noise in ((3, 0), (3, 1), (4, 0)):
        torch.manual_seed(noise)
        heads.append(ClassificationHead(8, 3, kind=kind, seed=seed).score.weight)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_it_is_created_in_fp32_whatever_the_default() -> None:
    head = ClassificationHead(8, 3)
    assert head.score.weight.dtype == torch.float32
    assert 0.005 < float(ClassificationHead(64, 64).score.weight.std()) < 0.05


def test_bf16_states_are_classified_in_fp32() -> None:
    head, pooled = ClassificationHead(8, 3, dropout=0.0), torch.randn(4, 8).bfloat16()
    expected = pooled.float() @ head.score.weight.T
    assert torch.equal(head(pooled), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head(pooled), expected)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_dropout_acts_in_training_alone(kind: str) -> None:
    head, pooled = ClassificationHead(64, 3, kind=kind, dropout=0.5), torch.randn(4, 64)
    torch.manual_seed(0)
    assert not torch.equal(head(pooled), head(pooled))
    head.eval()
    assert torch.equal(head(pooled), head(pooled))


NARROW: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
SCALED = {"cohere": CohereConfig(logit_scale=0.25, **NARROW), "granite": GraniteConfig(logits_scaling=8.0, **NARROW)}
WORDS = ("refund", "the", "no")  # several tokens, some of them merged ones


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2", *SCALED])
def test_class_logits_of_label_words_are_the_mean_lm_logits_of_their_tokens(family: str) -> None:
    config: PretrainedConfig | None = SCALED.get(family)
    tokenizer = make_tokenizer()
    backbone = (
        Backbone(AutoModelForCausalLM.from_config(config), tokenizer, family)
        if config
        else make_backbone(family, tokenizer=tokenizer)
    )
    model = DualHeadModel(backbone, 3, settings=ModelSettings(head_init="label_words")).eval()
    model.start_from_words(WORDS)
    row = rows(1)[0]
    with torch.no_grad():
        logits_C = model(make_batch([row], model)).logits_BC[0]
        stock_V = model.causal_lm(input_ids=torch.tensor([row.input_ids])).logits[0, -1]
    tokens = [tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in WORDS]
    assert {len(ids) for ids in tokens} == {7, 1, 3}
    torch.testing.assert_close(logits_C, torch.stack([stock_V[ids].mean() for ids in tokens]), rtol=1e-4, atol=1e-5)


def test_words_of_the_same_tokens_are_refused() -> None:
    """In another order, too: the average of their rows is the same."""
    backbone = make_backbone("llama")
    with pytest.raises(ModelError) as caught:
        label_word_rows(backbone.model, backbone.tokenizer, ("stop", "go", "pots"))
    assert str(caught.value) == (
        "model.head_init: label_words: 'stop' and 'pots' have the same tokens; rename a label, or use head_init: random"
    )
