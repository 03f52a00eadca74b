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


def test_what_fails_is_one_clear_line_that_names_the_setting() -> None:
    def fail() -> Any:
        raise RuntimeError("no compiler here\nand a trace")

    with pytest.raises(
        ConfigError, match=r"^`training\.compile`: torch\.compile failed here \(no compiler here\); leave"
    ):
        compile_layers([torch.nn.Identity()], fail, "training.compile")
