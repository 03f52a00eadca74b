"""Which files are a model's, and which directories dhrd wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dhrd.artifact.owned import inputs_of, is_export, model_files, wrote
from dhrd.config import load_config

WRITTEN = {"versions": {"dhrd": "0.1"}}


def test_a_models_files_are_there_or_may_be(tmp_path: Path) -> None:
    for name in ("shard.safetensors", "old.bin", "predictions.jsonl", "adapter/deep/a.txt", "checkpoints/1/state.pt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = {str(path.relative_to(tmp_path)) for path in model_files(tmp_path)}
    assert {"shard.safetensors", "old.bin", "adapter/deep/a.txt", "checkpoints/1/state.pt"} <= found
    assert {"dhrd.json", "config.json", "model.safetensors", "tokenizer.json", "metrics.jsonl"} <= found
    assert "predictions.jsonl" not in found
    assert not any("*" in name for name in found)
    assert next(model_files(tmp_path / "old.bin")) == tmp_path / "old.bin"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("dhrd.json", {"format_version": 1, **WRITTEN}, True),
        ("run.json", {"config": {}, **WRITTEN}, True),
        ("checkpoints/run.json", {"config": {}, **WRITTEN}, True),
        ("run.json", {"config": {}}, False),
        ("config.json", {"config": {}, **WRITTEN}, False),
        ("run.json", [1], False),
    ],
)
def test_what_dhrd_wrote_says_so(tmp_path: Path, name: str, content: Any, expected: bool) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(json.dumps(content))
    assert wrote(tmp_path) == expected


@pytest.mark.parametrize("kind", ["onnx", "export", "sequence_classifier"])
@pytest.mark.parametrize("place", [".", ".out.10299-b8ee2705.partial"])
def test_an_export_is_known_even_where_it_was_cut(tmp_path: Path, kind: str, place: str) -> None:
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / "dhrd.json").write_text(json.dumps({"kind": kind}))
    assert is_export(tmp_path) == (kind != "sequence_classifier")


def test_inputs_are_rows_templates_and_models(tmp_path: Path) -> None:
    for name in ("train.jsonl", "more.jsonl", "prompt.jinja"):
        (tmp_path / name).write_text("")
    (tmp_path / "backbone").mkdir()
    config = load_config(
        data__train=str(tmp_path / "train.jsonl"),
        model__name_or_path=str(tmp_path / "backbone"),
        teacher__template=str(tmp_path / "prompt.jinja"),
    )
    found = set(inputs_of(config, str(tmp_path / "more.jsonl")))
    assert {tmp_path / name for name in ("train.jsonl", "more.jsonl", "prompt.jinja")} <= found
    assert tmp_path / "backbone" / "config.json" in found
