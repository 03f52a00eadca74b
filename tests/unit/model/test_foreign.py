"""Reading what others wrote: files that are named here, sizes that are compared first."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import GPTJConfig, GPTJForCausalLM

from dhrd.errors import ArtifactError, ConfigError, DhrdError
from dhrd.model.foreign import Weights, check_directory, check_sizes, check_tables, foreign, read_small_json, reading
from helpers.models import make_causal_lm

TENSORS = {"layers.0.weight": torch.ones(2, 3), "layers.1.weight": torch.ones(4), "head": torch.ones(1)}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"num_layers": 2, "num_labels": 3}')
    return tmp_path


def test_whatever_is_raised_is_one_line() -> None:
    with (
        pytest.raises(ArtifactError, match=r"place: file: damaged \(first\); download") as caught,
        reading(Path("place/file")),
    ):
        raise RuntimeError("first\nsecond")
    assert "second" not in str(caught.value)
    with pytest.raises(ConfigError, match="ours"), foreign(lambda error: DhrdError("theirs")):
        raise ConfigError("ours")
    with pytest.raises(KeyboardInterrupt), reading(Path("place/file")):
        raise KeyboardInterrupt


@pytest.mark.parametrize("kind", [MemoryError, torch.OutOfMemoryError])
def test_a_lack_of_memory_is_no_damage(kind: type[Exception]) -> None:
    with pytest.raises(kind), reading(Path("place/file")):
        raise kind("CUDA out of memory")


@pytest.mark.parametrize(
    ("content", "message"),
    [("[1]", "it holds .*, no object"), ("{", "damaged"), (" " * (16 * 2**20 + 1), "bytes are too many")],
    ids=["list", "cut", "large"],
)
def test_a_small_object_or_an_error(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ArtifactError, match=message):
        read_small_json(tmp_path / "a.json")
    with pytest.raises(ArtifactError, match="no such file"):
        read_small_json(tmp_path)


def test_headers_tell_shapes_and_blocks(directory: Path) -> None:
    weights = Weights.of(directory)
    assert weights.shapes == {name: tuple(tensor.shape) for name, tensor in TENSORS.items()}
    assert (weights.num_blocks, weights.largest_size) == (2, 4)
    assert set(weights.load()) == set(TENSORS)
    assert torch.equal(weights.load("head")["head"], TENSORS["head"])
    with pytest.raises(ArtifactError, match=r"model\.safetensors: damaged"):
        weights.load("absent")


@pytest.mark.parametrize("file", ["../other.safetensors", "/etc/passwd", "a.bin", 5, "b\\c.safetensors"])
def test_an_index_names_files_beside_it(tmp_path: Path, file: Any) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": file}}))
    with pytest.raises(ArtifactError, match=r"weight_map must name a \.safetensors file beside it"):
        Weights.of(tmp_path)
    save_file({"a": torch.ones(2)}, tmp_path / "part.safetensors")
    index.write_text(json.dumps({"weight_map": {"a": "part.safetensors"}}))
    assert Weights.of(tmp_path).load()["a"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("fields", "is_backbone", "message"),
    [
        ({"num_layers": 3}, False, r"num_layers is 3, but model\.safetensors has 2"),
        ({"nested": {"n_layer": 10**9}}, True, r"n_layer is 1000000000, but"),
        ({"num_labels": 10**6}, True, "num_labels is 1000000, but"),
        ({"attn_implementation": "someone/kernels"}, True, "attn_implementation is 'someone/kernels'"),
        ({"quantization_config": {"quant_method": "x"}}, False, "quantization_config"),
    ],
)
def test_a_config_leads_nowhere_else(directory: Path, fields: dict[str, Any], is_backbone: bool, message: str) -> None:
    weights = Weights.of(directory)
    check_directory(directory, weights, is_backbone=is_backbone)
    (directory / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ArtifactError, match=message):
        check_directory(directory, weights, is_backbone=is_backbone)


def test_a_backbone_may_be_quantized_and_share_its_layers(directory: Path) -> None:
    fields = {"quantization_config": {"quant_method": "x"}, "num_layers": 12}
    (directory / "config.json").write_text(json.dumps(fields))
    check_directory(directory, Weights.of(directory), is_backbone=True)


def test_sizes_are_those_of_the_weights(tmp_path: Path) -> None:
    model = make_causal_lm("llama")
    model.save_pretrained(tmp_path)
    weights, path = Weights.of(tmp_path), tmp_path / "config.json"
    check_sizes(path, model.config, weights)
    model.config.hidden_size = 10**6
    with pytest.raises(ArtifactError, match="hidden_size is 1000000, but"):
        check_sizes(path, model.config, weights)


def test_tables_that_no_weight_shows_are_bounded(tmp_path: Path) -> None:
    """GPT-J's positions are a table for each layer, computed from the config."""
    sizes = {"n_layer": 1, "n_embd": 16, "n_head": 2, "rotary_dim": 4, "vocab_size": 50}
    save_file({"head": torch.ones(1)}, tmp_path / "model.safetensors")
    for positions, is_refused in ((2048, False), (10**12, True)):
        config = GPTJConfig(**sizes, n_positions=positions, bos_token_id=None, eos_token_id=None)
        with pytest.raises(ArtifactError, match=r"would keep 14,901\.2 GiB") if is_refused else nullcontext():
            check_tables(tmp_path / "config.json", GPTJForCausalLM, config, Weights.of(tmp_path))
        assert config.n_positions == positions
