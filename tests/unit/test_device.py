"""Devices by name, as users of torch and of transformers give them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dhrd._device import check_device, check_loaded, describe_device, find_device, random_state_kept
from dhrd.errors import ArtifactError, ConfigError


@pytest.mark.parametrize("device", ["cpu", -1, "-1", torch.device("cpu")])
def test_names_of_the_cpu(device: Any) -> None:
    assert find_device(device) == torch.device("cpu")


def test_the_best_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device(None) == torch.device("cuda")
    assert find_device(1) == find_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ConfigError, match="`device` cuda:2: torch finds 2 cuda devices here"):
        find_device(2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device(None) == torch.device("cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", True, 1.5])
def test_what_is_no_device(device: Any) -> None:
    with pytest.raises(ConfigError, match="give cpu, cuda, cuda:NUMBER"):
        find_device(device)


def test_the_kind_of_a_device() -> None:
    assert check_device("cpu") == "cpu"
    assert find_device(torch.device("meta")).type == "meta"


def test_weights_that_were_never_filled_in() -> None:
    check_loaded(nn.Linear(2, 2), "model")
    with pytest.raises(ArtifactError, match=r"model: 2 weights were not loaded \(weight\)"):
        check_loaded(nn.Linear(2, 2, device="meta"), "model")


def test_a_device_in_words() -> None:
    assert describe_device(torch.device("cpu")).endswith(" cores")
    assert describe_device(torch.device("mps")) == "mps"


def test_the_random_state_is_kept_and_no_other_device_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: asked.append(device) or torch.empty(0))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: None)
    before = torch.get_rng_state()
    with random_state_kept(torch.device("cpu")):
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before) and not asked
    with random_state_kept(torch.device("cuda:1")):
        torch.rand(3)
    assert asked == [torch.device("cuda:1")]
