"""`dhrd train`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.runs import flags, run_here, settings, write_rows

Capsys = pytest.CaptureFixture[str]


def test_flags_of_train_set_what_they_say(capsys: Capsys, tiny_backbone: Path, tmp_path: Path) -> None:
    write_rows(tmp_path)
    given = ["--num_epochs", "1", "--batch-size", "5", "--learning_rate", "2e-4", "--seed", "7", "--device", "cpu"]
    overrides = [*settings(tiny_backbone, tmp_path), "training.batch_size=2", "training.save_steps=null"]
    ended = run_here(capsys, "train", *flags(overrides), *given, "--output_dir", tmp_path / "elsewhere")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[-1] == f"the classifier is in {tmp_path / 'elsewhere'}"
    found = json.loads((tmp_path / "elsewhere" / "run.json").read_text(encoding="utf-8"))
    training = found["config"]["training"]
    assert (training["num_epochs"], training["batch_size"], training["learning_rate"]) == (1, 5, 2e-4)
    assert found["config"]["seed"] == found["seed"] == 7
    assert "torch" in found["versions"]
    assert not (tmp_path / "out").exists()
