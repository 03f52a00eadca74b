"""The artifact: what is written, in which order, and what no reader takes."""

from __future__ import annotations

import json
import logging
import os
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    CohereConfig,
    CTRLConfig,
)

import dhrd
from dhrd._versions import library_versions
from dhrd.artifact import write as saving_module
from dhrd.artifact.info import read_info
from dhrd.artifact.write import check_can_be_saved
from dhrd.config import LossSettings
from dhrd.data.records import LabelSet
from dhrd.errors import ArtifactError, ModelError, SaveError
from dhrd.model.backbone import Backbone
from helpers.artifacts import LABELS, LORA, names_in, perturb, save_model
from helpers.models import (
    FAMILIES,
    VOCAB_SIZE,
    make_backbone,
    make_batch,
    make_causal_lm,
    make_composite,
    make_model,
    rows,
    run_config,
    save_backbone,
    texts,
)
from helpers.rows import make_tokenizer

REASONING_ONLY = LossSettings(classification_weight=0)


@pytest.mark.parametrize(
    ("family", "settings", "loss", "expected"),
    [
        ("llama", {}, LossSettings(), set()),
        ("qwen2", {}, LossSettings(), {"reasoning_head.safetensors"}),
        ("qwen2", LORA, LossSettings(), {"reasoning_head.safetensors", "adapter"}),
        ("llama", {"head": "mlp"}, LossSettings(), {"head.safetensors"}),
        ("qwen2", {"pooling": "mean"}, LossSettings(), {"head.safetensors", "reasoning_head.safetensors"}),
        ("qwen2", {}, REASONING_ONLY, set()),
        ("llama", LORA, REASONING_ONLY, {"adapter"}),
    ],
)
def test_exactly_these_files_are_written(
    family: str, settings: dict[str, Any], loss: LossSettings, expected: set[str], tmp_path: Path
) -> None:
    save_model(tmp_path, make_model(family, loss=loss, **settings))
    stock = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    ours = {"dhrd.json", "run.json", "README.md"}
    assert {path.name for path in tmp_path.iterdir()} - {"generation_config.json"} == stock | ours | expected
    if "adapter" in expected:
        assert {path.name for path in (tmp_path / "adapter").iterdir()} == {
            "adapter_config.json",
            "adapter_model.safetensors",
        }


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_is_score_weight_without_a_bias(family: str, lora: bool, tmp_path: Path) -> None:
    """`from_pretrained` drops a stray `score.bias` without a word."""
    model = make_model(family, **(LORA if lora else {}))
    config = save_model(tmp_path, model)
    names = names_in(tmp_path / "model.safetensors")
    assert [name for name in names if name.startswith(("score", "head", "lm_head", "embed_out"))] == ["score.weight"]
    assert not any("lora" in name or "base_layer" in name for name in names)
    stock, loading = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert config["architectures"] == [type(stock).__name__]
    assert type(stock).__name__.endswith("ForSequenceClassification")
    torch.testing.assert_close(stock.score.weight, model.head.score.weight)


@pytest.mark.parametrize("names", [("LABEL_0", "LABEL_1"), ("no", "yes"), ("a", "b", "c")])
def test_label_names_are_always_written(names: tuple[str, ...], tmp_path: Path) -> None:
    """transformers leaves the maps out where there are two labels of default names."""
    written = save_model(tmp_path, make_model(num_labels=len(names)), LabelSet(names))
    assert written["id2label"] == {str(i): name for i, name in enumerate(names)}
    assert written["label2id"] == {name: i for i, name in enumerate(names)}
    assert written["problem_type"] == "single_label_classification"
    config = AutoModelForSequenceClassification.from_pretrained(tmp_path).config
    assert config.id2label == dict(enumerate(names))
    assert config.num_labels == len(names)


def test_multi_label_is_written(tmp_path: Path) -> None:
    written = save_model(tmp_path, make_model(), LabelSet(LABELS.names, multi_label=True))
    assert written["problem_type"] == "multi_label_classification"
    assert read_info(tmp_path).labels.multi_label


@pytest.mark.parametrize("pad", [None, "<eos>", "<pad>"])
@pytest.mark.parametrize("settings", [{}, {"head": "mlp"}])
def test_the_padding_token_is_always_written(pad: str | None, settings: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = make_tokenizer(pad=pad)
    if pad is None:
        tokenizer.pad_token = tokenizer.eos_token
    causal_lm = make_causal_lm("llama", pad_token_id=None)  # the backbone's own config does not tell
    model = make_model(backbone=Backbone(causal_lm, tokenizer, "tiny"), **settings)
    assert save_model(tmp_path, model)["pad_token_id"] == tokenizer.pad_token_id
    assert AutoTokenizer.from_pretrained(tmp_path).pad_token == tokenizer.pad_token == (pad or "<eos>")


def test_the_text_part_of_a_composite_backbone_pools_at_no_padding(tmp_path: Path) -> None:
    model = make_model(backbone=Backbone(make_composite(), make_tokenizer(), "tiny")).eval()
    config, batch = save_model(tmp_path, model), make_batch(rows(12)[2::3], model)
    assert config["text_config"]["pad_token_id"] == config["pad_token_id"] == model.tokenizer.pad_token_id
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(stock(batch.input_ids_BT).logits, model(batch).logits_BC)


def test_the_tokenizer_cuts_and_pads_as_the_run_did(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(padding_side="left", truncation_side="left")
    model = make_model(backbone=Backbone(make_causal_lm("llama"), tokenizer, "tiny"))
    save_model(tmp_path, model, max_input_tokens=7)
    found = AutoTokenizer.from_pretrained(tmp_path)
    assert (found.padding_side, found.truncation_side, found.model_max_length) == ("right", "right", 7)
    assert len(found) == len(tokenizer)  # no token was added
    assert tokenizer.padding_side == "left"  # the model is left as it is


def test_saving_leaves_the_model_as_it_is(tmp_path: Path) -> None:
    model = perturb(make_model("qwen2", **LORA))
    batch, config = make_batch(rows(), model), model.causal_lm.config.to_dict()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        logits = model.eval()(batch).logits_BC
        save_model(tmp_path, model)
        assert torch.equal(model(batch).logits_BC, logits)
    assert model.causal_lm.config.to_dict() == config
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_bf16_weights_take_the_head_with_them(tmp_path: Path) -> None:
    """One file has one type for `dtype="auto"`: an fp32 head beside bf16 weights would be read back in bf16 anyway."""
    backbone = make_backbone("llama")
    backbone.model.bfloat16()
    model = make_model(backbone=backbone, dtype="bfloat16")
    assert model.head.score.weight.dtype == torch.float32  # in training
    assert save_model(tmp_path, model)["dtype"] == "bfloat16"
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {torch.bfloat16}
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype="auto")
    assert torch.equal(stock.score.weight, model.head.score.weight.bfloat16())
    save_model(tmp_path / "mlp", make_model(backbone=backbone, dtype="bfloat16", head="mlp"))
    assert {tensor.dtype for tensor in load_file(tmp_path / "mlp" / "head.safetensors").values()} == {torch.float32}


def test_fp32_is_the_default(tmp_path: Path) -> None:
    assert save_model(tmp_path, make_model())["dtype"] == "float32"
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {torch.float32}


def test_a_quantization_config_is_not_saved(tmp_path: Path) -> None:
    model = make_model()
    model.causal_lm.config.quantization_config = {"quant_method": "gguf"}
    assert "quantization_config" not in save_model(tmp_path, model)
    assert model.causal_lm.config.quantization_config == {"quant_method": "gguf"}


@pytest.mark.parametrize("settings", [{"head": "mlp"}, {"pooling": "mean"}])
def test_what_is_not_stock_names_no_stock_architecture(
    settings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = save_backbone(tmp_path / "backbone", "qwen2")
    config = run_config(model={"name_or_path": name} | settings, output_dir=str(tmp_path / "out"))
    with caplog.at_level(logging.WARNING, "dhrd"):
        dhrd.train(config, train_dataset=texts(), device="cpu")
    assert sum("is not a stock classifier" in record.message for record in caplog.records) == 1
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert not any("Classification" in one for one in written["architectures"])
    classifier = dhrd.Classifier.from_pretrained(tmp_path / "out", device="cpu", dtype=None)
    assert classifier.info.kind == "dhrd_classifier"
    assert set(classifier.predict(["the parcel", "an invoice"])) <= {"bill", "login", "mail"}
    (tmp_path / "out" / "head.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"head\.safetensors: missing or damaged"):
        dhrd.Classifier.from_pretrained(tmp_path / "out")


def test_a_reasoning_only_student_is_a_causal_lm_that_the_classifier_refuses(tmp_path: Path) -> None:
    model = perturb(make_model("qwen2", loss=REASONING_ONLY)).eval()
    assert save_model(tmp_path, model)["architectures"] == ["Qwen2ForCausalLM"]
    batch = make_batch(rows(), model)
    given = {"input_ids": batch.input_ids_BT, "attention_mask": batch.attention_mask_BT.long()}
    with torch.no_grad():
        expected = model.causal_lm(**given).logits
        found = AutoModelForCausalLM.from_pretrained(tmp_path)(**given).logits
    torch.testing.assert_close(found, expected)
    with pytest.raises(ArtifactError, match=r"trained with loss\.classification_weight: 0, so it has no classifier"):
        dhrd.Classifier.from_pretrained(tmp_path)


def odd_backbone(config: Any) -> Backbone:
    return Backbone(AutoModelForCausalLM.from_config(config), make_tokenizer(), "odd")


COHERE = CohereConfig(
    vocab_size=VOCAB_SIZE, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
)
CTRL = CTRLConfig(vocab_size=VOCAB_SIZE, n_embd=16, dff=16, n_layer=1, n_head=2)


def test_a_family_without_a_sequence_classifier_is_refused_before_training() -> None:
    with pytest.raises(ModelError, match=r"no sequence classifier for CohereConfig; set model\.head: mlp"):
        check_can_be_saved(make_model(backbone=odd_backbone(COHERE)))
    assert "not a stock classifier" in (check_can_be_saved(make_model(backbone=odd_backbone(COHERE), head="mlp")) or "")
    assert "no classifier" in (check_can_be_saved(make_model(backbone=odd_backbone(COHERE), loss=REASONING_ONLY)) or "")


def test_a_family_whose_classifier_is_built_otherwise_is_refused_before_training() -> None:
    """CTRL's head is named `classifier`: what we save it could not hold."""
    with pytest.raises(ModelError, match="no sequence classifier for CTRLConfig"):
        check_can_be_saved(make_model(backbone=odd_backbone(CTRL)))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_nine_families_can_be_saved(family: str) -> None:
    assert len(FAMILIES) == 9
    assert check_can_be_saved(make_model(family)) is None


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("where", ["_write_weights", "_write_tokenizer", "write_json"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["disk", "ctrl-c"])
def test_a_failure_before_the_first_file_is_replaced_leaves_the_old_artifact(
    where: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path, make_model(seed=1))
    before = content(tmp_path)

    def fail(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(saving_module, where, fail)
        expected = SaveError if isinstance(error, OSError) else KeyboardInterrupt
        with pytest.raises(expected) as caught:
            save_model(tmp_path, make_model(seed=2))
    if expected is SaveError:
        assert "No space left on device" in str(caught.value)
        assert "what was saved before is intact" in str(caught.value)
    assert content(tmp_path) == before
    assert read_info(tmp_path).labels == LABELS
    save_model(tmp_path, make_model(seed=2))
    assert not list(tmp_path.glob(".*"))
    assert content(tmp_path)["model.safetensors"] != before["model.safetensors"]


def test_no_reader_takes_a_directory_whose_files_are_half_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at each replacement in turn: there is no manifest until the last, and then the new artifact is whole."""
    replace, left = os.replace, [0]
    model = make_model("qwen2", seed=2, **LORA)
    save_model(tmp_path / "whole", model)
    num_files = len(list((tmp_path / "whole").iterdir()))
    assert num_files >= 9

    def killed(source: Any, target: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        replace(source, target)

    for survived in range(num_files):
        directory = tmp_path / f"{survived}"
        save_model(directory, make_model("qwen2", seed=1))
        left[0] = survived
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", killed)
            with pytest.raises(KeyboardInterrupt):
                save_model(directory, model)
        with pytest.raises(ArtifactError, match="training is not finished"):
            read_info(directory)
        save_model(directory, model)
        assert content(directory)["model.safetensors"] == content(tmp_path / "whole")["model.safetensors"]
        assert read_info(directory)


def test_files_of_the_kind_before_are_gone(tmp_path: Path) -> None:
    save_model(tmp_path, make_model("qwen2", head="mlp", **LORA))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "metrics.jsonl").write_text("kept")
    save_model(tmp_path, make_model("llama"))
    left = {path.name for path in tmp_path.iterdir()}
    assert not left & {"head.safetensors", "reasoning_head.safetensors", "adapter"}
    assert {"checkpoints", "metrics.jsonl"} <= left


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SaveError, match="could not be saved"):
        save_model(tmp_path / "file" / "out", make_model())


def test_with_lora_the_difference_to_the_trained_model_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = save_backbone(tmp_path / "backbone", "llama")
    config = run_config(model={"name_or_path": name} | LORA, output_dir=str(tmp_path / "out"))
    with caplog.at_level(logging.WARNING, "dhrd"):
        dhrd.train(config, train_dataset=texts(), device="cpu")
    said = [record.message for record in caplog.records if "artifact against the trained model" in record.message]
    assert len(said) == 1
    assert "on 10 rows" in said[0]
    assert "same label on 100.0 %" in said[0]


def test_versions_of_a_checkout_that_was_put_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> str:
        if name == "dhrd":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr("dhrd._versions.version", find)
    assert library_versions() == dict.fromkeys(library_versions(), "1.0") | {"dhrd": "not installed"}
