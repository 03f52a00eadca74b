"""A5, A11: sizes of a config that are used before anything is built, with the options that people use: none."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dhrd import Classifier
from dhrd.errors import ArtifactError
from helpers.artifacts import change, save_tiny
from helpers.runs import run_here

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("sizes") / "artifact")


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    shutil.copy(tiny.with_suffix(".jsonl"), tmp_path / "rows.jsonl")
    return shutil.copytree(tiny, tmp_path / "artifact")


ABSURD: tuple[dict[str, Any], ...] = (
    {"intermediate_size": 10**9},
    {"intermediate_size": 10**15},
    {"intermediate_size": -1},
    {"intermediate_size": 0},
    {"hidden_size": 0},
    {"text_config": {"model_type": "evil"}},
    {"text_config": 5},
)


@pytest.mark.parametrize("fields", ABSURD, ids=str)
def test_a5_no_product_of_believed_sizes_is_measured(capsys: Capsys, copy: Path, fields: dict[str, Any]) -> None:
    """`--dtype auto` measures products of the config's sizes before the model is built."""
    change(copy / "config.json", **fields)
    given = "--model", copy, "--input", copy.with_name("rows.jsonl"), "--output", copy.with_name("out.jsonl")
    ended = run_here(capsys, "predict", *given, "--device", "cpu")
    assert ended.code == 2
    assert len(ended.error_lines) == 1
    assert "config.json" in ended.err
    with pytest.raises(ArtifactError, match=r"config\.json"):
        Classifier.from_pretrained(copy, device="cpu")
