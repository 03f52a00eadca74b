"""QLoRA, where bitsandbytes is installed: 4-bit weights become an ordinary classifier, and the difference is told."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import dhrd
from dhrd.config import LoraSettings, ModelSettings
from dhrd.model.backbone import load_backbone
from helpers.runs import make_config

pytest.importorskip("bitsandbytes", reason="bitsandbytes is not here: pip install 'dhrd[qlora]'")


def test_the_artifact_is_dequantized_and_its_difference_told(
    wide_backbone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lora = "model.lora={target_modules: [q_proj, v_proj]}"  # the other layers are 4-bit without an adapter
    config = make_config(wide_backbone, tmp_path, "model.quantization=nf4", lora, "training.num_epochs=1")
    with caplog.at_level(logging.WARNING, logger="dhrd"):
        result = dhrd.train(config)
    assert "largest probability difference" in caplog.text
    state = load_file(result.output_dir / "model.safetensors")
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    assert state["model.layers.0.mlp.up_proj.weight"].shape == (128, 64)
    assert len(dhrd.Classifier.from_pretrained(result.output_dir).predict(["case 1: keep", "case 2: repair"])) == 2


def test_evaluation_leaves_gradients_of_training_as_they_are(wide_backbone: Path) -> None:
    """On CPUs with bf16 bitsandbytes packs weights in evaluation, and passes no gradient through packed ones."""
    settings = ModelSettings(name_or_path=str(wide_backbone), quantization="nf4", lora=LoraSettings())
    model, ids = load_backbone(settings).model, torch.arange(8)[None]
    embedded = model.get_input_embeddings()(ids).detach().requires_grad_()

    def gradient() -> torch.Tensor:
        return torch.autograd.grad(model.train()(inputs_embeds=embedded).logits.square().sum(), embedded)[0]

    before = gradient()
    with torch.no_grad():
        model.eval()(input_ids=ids)
    assert torch.equal(gradient(), before)


@pytest.fixture
def wide_backbone(tmp_path: Path) -> Path:
    """Wide enough for blocks of 64 weights, by which 4-bit quantization goes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from helpers.rows import make_tokenizer

    tokens = make_tokenizer()
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {"bos_token_id": None, "eos_token_id": tokens.eos_token_id, "pad_token_id": tokens.pad_token_id}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokens), **shape, **special)).save_pretrained(tmp_path / "wide")
    tokens.save_pretrained(tmp_path / "wide")
    return tmp_path / "wide"
