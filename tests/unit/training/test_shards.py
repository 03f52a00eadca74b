"""What asks for weights in shards, and what is refused; the runs themselves are in tests/invariants/test_shards.py."""

from __future__ import annotations

import pytest
import torch

from dhrd.errors import ConfigError
from dhrd.training.shards import gathered, shards_weights, split_like, whole
from helpers.models import make_model, run_config


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")


def test_the_launcher_asks_for_it(monkeypatch: pytest.MonkeyPatch, asked: None) -> None:
    assert shards_weights(run_config(), 2)
    assert not shards_weights(run_config(), 1)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    assert not shards_weights(run_config(), 2)


def test_fsdp1_is_refused(monkeypatch: pytest.MonkeyPatch, asked: None) -> None:
    monkeypatch.setenv("FSDP_VERSION", "1")
    with pytest.raises(ConfigError, match="set fsdp_version: 2"):
        shards_weights(run_config(), 2)


@pytest.mark.parametrize("name", ["cache_frozen", "compile"])
def test_what_cannot_be_split_is_refused(asked: None, name: str) -> None:
    with pytest.raises(ConfigError, match=f"training.{name}: not supported with sharded weights"):
        shards_weights(run_config(model={"freeze_layers": 1}, training={name: True}), 2)


def test_fp16_is_refused_before_anything_is_loaded(asked: None) -> None:
    with pytest.raises(ConfigError, match=r"training\.mixed_precision=fp16: not supported with sharded weights"):
        shards_weights(run_config(training={"mixed_precision": "fp16"}), 2)


def test_without_shards_nothing_changes() -> None:
    model = make_model("llama")
    state = {"a": [torch.ones(2), 3], "b": {"c": None}}
    assert whole(state)["a"][0] is state["a"][0] and whole(state) == state
    assert split_like(torch.ones(2), torch.zeros(2)).tolist() == [1, 1]
    hooks = {id(module): len(module._state_dict_pre_hooks) for module in model.modules()}
    with gathered(model):
        assert hooks == {id(module): len(module._state_dict_pre_hooks) for module in model.modules()}
