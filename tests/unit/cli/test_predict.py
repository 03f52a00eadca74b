"""`dhrd predict`: what is refused before a model is loaded. Its rows: `contract/test_cli.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.rows import write_jsonl
from helpers.runs import run_here

Capsys = pytest.CaptureFixture[str]


def test_the_input_is_never_overwritten(capsys: Capsys, tmp_path: Path) -> None:
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"input_text": "x"}])
    ended = run_here(capsys, "predict", "--model", tmp_path, "--input", rows, "--output", rows)
    assert ended.code == 2
    assert f"--output {rows}: would take the place of what is read" in ended.error_lines[0]


def test_nothing_is_written_where_there_is_no_artifact(capsys: Capsys, tmp_path: Path) -> None:
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"input_text": "x"}])
    output = tmp_path / "p.jsonl"
    ended = run_here(capsys, "predict", "--model", tmp_path / "none", "--input", rows, "--output", output)
    assert ended.code == 2
    assert not output.exists()


def test_what_must_be_given(capsys: Capsys) -> None:
    ended = run_here(capsys, "predict", "--model", "a", "--output", "-")
    assert ended.code == 2
    assert "--input" in ended.err
