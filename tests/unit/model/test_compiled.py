"""Layers that are compiled: each, once run, and one clear line where it fails."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dhrd.errors import ConfigError
from dhrd.model.compiled import compile_layers


def test_each_layer_is_compiled_for_any_shape_and_run(monkeypatch: pytest.MonkeyPatch) -> None:
    layers, done = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]), []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: done.append((self, options)))
    compile_layers(layers, lambda: done.append("run"), "a")
    assert done == [(layers[0], {"dynamic": True}), (layers[1], {"dynamic": True}), "run"]


def test_every_kind_of_batch_is_compiled() -> None:
    """More kinds than torch would compile by itself: with and without a gradient, of one row and of several, …"""
    done: list[str] = []

    class Layer(nn.Module):
        def forward(self, x: torch.Tensor, kind: str) -> torch.Tensor:
            if not torch.compiler.is_compiling():
                done.append(kind)
            return x + len(kind)

    layer = Layer()
    compile_layers([layer], lambda: None, "a")
    for kind in range(12):
        for needs in (False, True):
            assert torch.equal(layer(torch.ones(3, requires_grad=needs), "x" * kind), torch.full((3,), 1.0 + kind))
    assert not done


def test_a_lack_of_memory_is_not_the_compilers_failure() -> None:
    def fail() -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        compile_layers([torch.nn.Identity()], fail, "training.compile")


def test_what_fails_is_one_clear_line_that_names_the_setting() -> None:
    def fail() -> Any:
        raise RuntimeError("no compiler here\nand a trace")

    with pytest.raises(
        ConfigError, match=r"^`training\.compile`: torch\.compile failed here \(no compiler here\); leave"
    ):
        compile_layers([torch.nn.Identity()], fail, "training.compile")
