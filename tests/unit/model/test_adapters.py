"""What is trained: adapters, the upper blocks, or everything."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.utils import integrations
from torch import Tensor, nn
from transformers import DeepseekV3Config, PhimoeConfig, PretrainedConfig

from dhrd.artifact.info import ArtifactInfo
from dhrd.artifact.write import kind_of, save_artifact
from dhrd.config import LossSettings, ModelSettings
from dhrd.config.model import LoraSettings
from dhrd.data.records import LabelSet
from dhrd.errors import ModelError
from dhrd.model import adapters
from dhrd.model.adapters import add_lora, blocks, merged_state
from dhrd.model.backbone import Backbone
from dhrd.training.step import train_step
from helpers.artifacts import save_model
from helpers.models import (
    FAMILIES,
    VOCAB_SIZE,
    causal_lm_of,
    make_batch,
    make_causal_lm,
    make_model,
    parameters_of,
    rows,
    step_of,
)
from helpers.rows import make_tokenizer

LINEAR = {
    "gpt2": ["c_attn", "c_fc", "c_proj"],
    "opt": ["fc1", "fc2", "k_proj", "out_proj", "q_proj", "v_proj"],
    "gpt_neox": ["dense", "dense_4h_to_h", "dense_h_to_4h", "query_key_value"],
    "phi3": ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"],
}
LLAMA_LIKE = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


@pytest.mark.parametrize("family", FAMILIES)
def test_by_default_every_linear_layer_of_the_blocks_is_adapted_and_never_a_head(family: str) -> None:
    assert len(FAMILIES) == 9
    model = make_model(family, lora=LoraSettings())
    assert model.adapted == LINEAR.get(family, LLAMA_LIKE)
    adapted = {name.partition(".lora_")[0] for name, _ in model.named_parameters() if "lora_" in name}
    per_block = sum(isinstance(m, nn.Linear) or type(m).__name__ == "Conv1D" for m in _plain_block(family).modules())
    assert len(adapted) == 2 * per_block
    heads = ("lm_head", "embed_out", "score", "head", "embed_tokens", "wte")
    assert [name for name in adapted if name.rpartition(".")[2] in heads] == []
    assert type(model.head.score) is nn.Linear
    assert "lora" not in type(model.causal_lm.get_output_embeddings()).__module__


def _plain_block(family: str) -> nn.Module:
    return blocks(make_causal_lm(family))[0]


def test_adapters_and_the_head_are_all_that_is_trained() -> None:
    model = make_model("llama", lora=LoraSettings(dropout=0.0))
    trained = set(model.trained_state())
    assert trained == {n for n, _ in model.named_parameters() if "lora_" in n} | {"head.score.weight"}
    before = parameters_of(model)
    state = step_of(model, learning_rate=1e-2)
    for step in (1, 2):
        train_step(state, [make_batch(rows(), model)], step)
    moved = {name for name, tensor in parameters_of(model).items() if not torch.equal(tensor, before[name])}
    assert moved == trained


def test_adapters_of_bf16_weights_are_fp32() -> None:
    causal_lm = make_causal_lm("llama").bfloat16()
    add_lora(causal_lm, LoraSettings())
    kinds = {name.rpartition("lora_")[1]: p.dtype for name, p in causal_lm.named_parameters()}
    assert kinds == {"": torch.bfloat16, "lora_": torch.float32}


def test_named_layers_alone_are_adapted_and_the_settings_are_left_alone() -> None:
    settings = LoraSettings(target_modules=("q_proj", "v_proj"))
    model = make_model("llama", lora=settings)
    adapted = {name.split(".lora_")[0].rpartition(".")[2] for name in model.trained_state() if "lora_" in name}
    assert adapted == {"q_proj", "v_proj"}
    assert settings == LoraSettings(target_modules=("q_proj", "v_proj"))


@pytest.mark.parametrize("names", [("query",), ("nothing", "at_all")])
def test_a_layer_that_is_not_there_is_refused_naming_those_that_are(names: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match=rf"{', '.join(names)}: no such linear layers; .*q_proj.*v_proj"):
        make_model("llama", lora=LoraSettings(target_modules=names))


@pytest.mark.parametrize("family", ["gpt2", "opt", "llama", "phi3"])
def test_merging_gives_the_adapted_model_and_changes_nothing(family: str) -> None:
    model = make_model(family, lora=LoraSettings(dropout=0.0)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.1)
    batch = make_batch(rows(), model)
    before = parameters_of(model)
    plain = make_causal_lm(family).eval()
    given = {"input_ids": batch.input_ids_BT, "attention_mask": batch.attention_mask_BT.long()}
    with torch.no_grad():
        assert not torch.allclose(plain(**given).logits, model.causal_lm(**given).logits, atol=1e-2)
        plain.load_state_dict(merged_state(model.causal_lm))
        torch.testing.assert_close(plain(**given).logits, model.causal_lm(**given).logits, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in parameters_of(model).items())


@pytest.mark.parametrize("quantized", [False, True])
def test_no_merged_weight_is_on_the_device_when_the_next_is_made(
    monkeypatch: pytest.MonkeyPatch, quantized: bool
) -> None:
    model = make_model("llama", lora=LoraSettings(target_modules=("q_proj", "v_proj")))
    layers = {module for name, module in model.causal_lm.named_modules() if "_proj" in name and "lora_" not in name}
    moved: list[weakref.ref[Tensor]] = []
    num_left: list[int] = []

    def dequantized(module: nn.Module) -> Tensor:
        num_left.append(sum(one() is not None for one in moved))
        assert isinstance(module.weight, Tensor)
        return module.weight.detach().clone()

    def to_the_cpu(tensor: Tensor) -> Tensor:
        moved.append(weakref.ref(tensor))
        return tensor.clone()  # as from another device

    before = merged_state(model.causal_lm)
    monkeypatch.setattr(integrations, "dequantize_module_weight", dequantized)
    monkeypatch.setattr(adapters, "is_quantized", lambda module: quantized and module in layers)
    monkeypatch.setattr(Tensor, "cpu", to_the_cpu)
    state = merged_state(model.causal_lm)
    assert len(moved) == len(num_left) == 2 * (7 if quantized else 2)
    assert not any(num_left)
    assert all(one() is None for one in moved)
    assert state.keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.items())


SMALL: dict[str, Any] = {
    **{"vocab_size": VOCAB_SIZE, "hidden_size": 16, "intermediate_size": 32, "moe_intermediate_size": 16},
    **{"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2},
}
DEEPSEEK = DeepseekV3Config(
    **SMALL | {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1},
    **{"first_k_dense_replace": 1, "q_lora_rank": 8, "kv_lora_rank": 8},
    **{"qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8},
)
"""Its first block and its shared experts have linear layers of the names that peft takes for the fused experts."""


@pytest.mark.parametrize(
    ("config", "left_out"),
    [(DEEPSEEK, {"gate_proj", "up_proj", "down_proj"}), (PhimoeConfig(**SMALL, num_local_experts=4), {"router"})],
    ids=lambda value: getattr(value, "model_type", None),
)
def test_neither_fused_experts_nor_routers_are_adapted(
    config: PretrainedConfig, left_out: set[str], tmp_path: Path
) -> None:
    model = make_model(backbone=Backbone(causal_lm_of(config), make_tokenizer(), "tiny"), lora=LoraSettings())
    assert {"q_proj", "q_b_proj"} & {*model.adapted}
    assert not left_out & {*model.adapted}
    train_step(step_of(model, learning_rate=1e-2), [make_batch(rows(), model)], 1)
    save_model(tmp_path, model)
    assert {path.name for path in tmp_path.iterdir()} >= {"model.safetensors", "adapter"}


@pytest.mark.parametrize("names", [("q_b_proj", "gate_proj"), ("up_proj", "gate_proj"), ("mlp.down_proj",)])
def test_fused_experts_that_are_asked_for_are_refused_naming_the_other_layers(names: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match=rf"{names[-1]}: peft would adapt .* fused experts, .* of kv_a_.*, q_b_proj$"):
        add_lora(causal_lm_of(DEEPSEEK), LoraSettings(target_modules=names))


def saved_adapter(tmp_path: Path, **settings: Any) -> dict[str, Any]:
    model = make_model("llama", lora=LoraSettings(target_modules=("q_proj",)), **settings)
    save_artifact(tmp_path, model, ArtifactInfo(kind=kind_of(model), labels=LabelSet(("a", "b", "c"))))
    return json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())


def test_the_saved_adapter_names_the_head_and_its_layers_exactly(tmp_path: Path) -> None:
    """peft appends its own guesses to the `modules_to_save` that it is given, and adapts the head for "all-linear"."""
    for _ in range(2):  # a second time: no list may have grown in between
        found = saved_adapter(tmp_path)
        assert found["modules_to_save"] == ["score"]
        assert found["target_modules"] == ["q_proj"]
        assert found["task_type"] == "SEQ_CLS"
        assert found["base_model_name_or_path"] == "tiny llama"
        assert (found["r"], found["lora_alpha"]) == (16, 32)


@pytest.mark.parametrize("settings", [{"head": "mlp"}, {"loss": LossSettings(classification_weight=0)}])
def test_where_the_artifact_is_no_stock_classifier_the_adapter_has_no_head(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    from safetensors import safe_open

    assert saved_adapter(tmp_path, **settings)["modules_to_save"] is None
    with safe_open(tmp_path / "adapter" / "adapter_model.safetensors", "pt") as file:
        assert len(list(file.keys())) == 4
        assert all("lora_" in name for name in file.keys())  # noqa: SIM118


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_no_gradient_runs_below_frozen_layers(family: str, checkpointing: bool) -> None:
    assert len(FAMILIES) == 9
    model = make_model(family, freeze_layers=1)
    lower, upper = blocks(model.causal_lm)
    entering: list[bool] = []

    def note(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
        entering.append(given[0].requires_grad)

    upper.register_forward_pre_hook(note)
    before = parameters_of(model)
    state = step_of(model, learning_rate=1e-2, gradient_checkpointing=checkpointing)
    train_step(state, [make_batch(rows(), model)], 1)
    assert entering
    assert not any(entering)
    moved = {name for name, tensor in parameters_of(model).items() if not torch.equal(tensor, before[name])}
    expected = {id(p) for p in upper.parameters()} | {id(model.head.score.weight)}
    below = {id(p) for p in lower.parameters()} | {id(model.causal_lm.get_input_embeddings().weight)}
    by_name = {name: id(p) for name, p in model.named_parameters()}
    assert expected <= {by_name[name] for name in moved}
    assert not below & {by_name[name] for name in moved}
    after = {n for n in by_name if n.startswith("causal_lm") and "norm" in n and "layers" not in n}
    assert after <= moved


def test_all_blocks_can_be_frozen_and_the_head_still_learns() -> None:
    model = make_model("llama", freeze_layers=2, loss=LossSettings(reasoning_weight=0))
    assert set(model.trained_state()) == {"head.score.weight", "causal_lm.model.norm.weight"}


def test_more_layers_than_there_are_is_refused() -> None:
    with pytest.raises(ModelError, match=r"model\.freeze_layers: 3 of 2 blocks; give 2 or fewer"):
        make_model("llama", freeze_layers=3)


def test_lora_with_frozen_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        ModelSettings(lora=LoraSettings(), freeze_layers=1)
