"""Which settings hold when an artifact is used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dhrd.cli.settings import check_inputs, inference_config, read_by
from dhrd.config import RunConfig, load_config
from dhrd.errors import ArtifactError, DataError
from helpers.artifacts import change, save_tiny
from helpers.rows import write_jsonl


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A directory with a run's settings."""
    config = {"data": {"train": str(tmp_path / "t.jsonl"), "rationales": str(tmp_path / "why.jsonl")}, "seed": 5}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text(json.dumps({"config": config}), encoding="utf-8")
    return tmp_path / "out"


def test_the_runs_own_settings_hold_with_set_over_them(artifact: Path) -> None:
    settings = inference_config(artifact, None, ["data.max_input_tokens=9"])
    assert (settings.seed, settings.data.max_input_tokens) == (5, 9)


def test_a_file_of_settings_takes_the_place_of_the_runs(artifact: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("data: {test: x.jsonl}", encoding="utf-8")
    settings = inference_config(artifact, file, None)
    assert (settings.seed, settings.data.test, settings.data.train) == (0, "x.jsonl", None)


def test_without_a_run_they_are_the_defaults_and_the_artifacts_columns(tmp_path: Path) -> None:
    model = save_tiny(tmp_path / "model")
    assert inference_config(model, None, None) == RunConfig()
    change(model / "dhrd.json", columns={"label": "queue"})
    assert inference_config(model, None, ["seed=3"]) == load_config(seed=3, data__columns={"label": "queue"})
    with pytest.raises(ArtifactError, match="not a dhrd artifact"):
        inference_config(tmp_path, None, None)


def test_what_is_read_are_the_artifact_and_the_rows_of_both_settings(artifact: Path, tmp_path: Path) -> None:
    settings = load_config(overrides=["data.test=other.jsonl"])
    paths = set(read_by(artifact, settings, "given.jsonl", None))
    expected = {artifact / "dhrd.json", Path("other.jsonl"), Path("given.jsonl"), tmp_path / "t.jsonl"}
    assert paths >= expected | {tmp_path / "why.jsonl"}


def test_an_artifact_and_its_rows_are_looked_at(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not a dhrd artifact"):
        check_inputs(artifact, None, RunConfig(), split="test")
    model = save_tiny(tmp_path / "model")
    check_inputs(model, None, RunConfig(), split="test")
    check_inputs(model, model.with_suffix(".jsonl"), RunConfig(), split="test")
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"text": "a", "label": "bill"}])
    with pytest.raises(DataError, match="input_text: missing; the row has text, label"):
        check_inputs(model, rows, RunConfig(), split="test", labels_required=False)
    renamed = load_config(overrides=["data.columns.input_text=text"])
    check_inputs(model, rows, renamed, split="test")
