"""The artifact as its tokenizer and as a causal language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    PhiConfig,
)

import dhrd
from dhrd.artifact.info import read_info
from dhrd.artifact.read import load_input_encoder, load_reasoning_model
from dhrd.model.backbone import Backbone
from helpers.artifacts import LORA, names_in, perturb, save_model
from helpers.models import (
    FAMILIES,
    VOCAB_SIZE,
    make_batch,
    make_model,
    rows,
    run_config,
    save_backbone,
    texts,
)
from helpers.rows import make_tokenizer


def test_an_input_that_ends_in_the_padding_token_is_refused_in_training_and_mended_after(tmp_path: Path) -> None:
    """Where pad = eos, the stock rule pools one token early there."""
    name = save_backbone(tmp_path / "backbone", "llama", tokenizer=make_tokenizer(pad="<eos>"))
    config = run_config(model={"name_or_path": name}, output_dir=str(tmp_path / "out"))
    ending = texts()[:-1] + [{"input_text": "that was all<eos>", "label": "mail", "rationale": None, "id": "the-last"}]
    with pytest.raises(dhrd.DataError, match="the input ends in the padding token"):
        dhrd.train(config, train_dataset=ending, device="cpu")
    dhrd.train(config, train_dataset=texts(), device="cpu", overwrite=True)
    classifier = dhrd.Classifier.from_pretrained(tmp_path / "out", device="cpu", dtype=None)
    both = classifier.predict_proba(["that was all<eos>", "that was all<eos>\n"])
    assert classifier.num_mended == 1
    torch.testing.assert_close(torch.from_numpy(both[0]), torch.from_numpy(both[1]))


@pytest.mark.parametrize("settings", [{}, LORA, {"head": "mlp"}], ids=["full", "lora", "mlp"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_reasoning_model_has_the_trained_lm_logits(family: str, settings: dict[str, Any], tmp_path: Path) -> None:
    assert len(FAMILIES) == 9
    model = perturb(make_model(family, **settings)).eval()
    save_model(tmp_path, model)
    tied = model.causal_lm.get_output_embeddings().weight is model.causal_lm.get_input_embeddings().weight
    assert (tmp_path / "reasoning_head.safetensors").is_file() != tied
    batch = make_batch(rows(), model)
    given = {"input_ids": batch.input_ids_BT, "attention_mask": batch.attention_mask_BT.long()}
    with torch.no_grad():
        found = load_reasoning_model(tmp_path).eval()(**given).logits
        torch.testing.assert_close(found, model.causal_lm(**given).logits, rtol=1e-4, atol=1e-4)


def test_a_reasoning_heads_bias_is_kept(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    phi = AutoModelForCausalLM.from_config(PhiConfig(**sizes, vocab_size=VOCAB_SIZE, pad_token_id=0))
    model = perturb(make_model(backbone=Backbone(phi, make_tokenizer(), "phi")))
    save_model(tmp_path, model)
    assert names_in(tmp_path / "reasoning_head.safetensors") == {"lm_head.weight", "lm_head.bias"}
    assert float(phi.lm_head.bias.abs().max()) > 0
    assert torch.equal(load_reasoning_model(tmp_path).lm_head.bias, phi.lm_head.bias)


def test_the_encoder_is_that_of_training(tmp_path: Path) -> None:
    model = make_model()
    save_model(tmp_path, model, input_template="Title: {{ title }}", max_input_tokens=6)
    (encoded,) = load_input_encoder(tmp_path, read_info(tmp_path)).encode(
        [({"title": "a long title of many words"}, "")]
    )
    assert encoded.was_cut
    assert len(encoded.input_ids) == 6
    assert encoded.input_ids[:4] == model.tokenizer("Title: a long title")["input_ids"][:4]
