"""`dhrd predict`: what is refused before a model is loaded. Its rows: `contract/test_cli.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.inference.classifier import Classifier
from helpers.artifacts import change, save_tiny
from helpers.rows import write_jsonl
from helpers.runs import run_here

Capsys = pytest.CaptureFixture[str]


def test_the_input_is_never_overwritten(capsys: Capsys, tmp_path: Path) -> None:
    model = save_tiny(tmp_path / "model")
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"input_text": "x"}])
    ended = run_here(capsys, "predict", "--model", model, "--input", rows, "--output", rows)
    assert ended.code == 2
    assert f"--output {rows}: would overwrite an input" in ended.error_lines[0]


@pytest.mark.parametrize("address", ["file://{}", "simplecache::file://{}", "file://{}/*.jsonl"])
def test_nor_is_it_by_its_address(
    capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    model, folder = save_tiny(tmp_path / "model"), tmp_path / "rows"
    folder.mkdir()
    rows = write_jsonl(folder / "rows.jsonl", [{"input_text": "x"}])
    monkeypatch.chdir(folder)
    spec = address.format(folder if "*" in address else rows)
    ended = run_here(capsys, "predict", "--model", model, "--input", spec, "--output", "rows.jsonl")
    assert ended.code == 2 and "--output rows.jsonl: would overwrite an input" in ended.err
    assert rows.read_text() == '{"input_text": "x"}\n'


def test_nothing_is_written_where_there_is_no_artifact(capsys: Capsys, tmp_path: Path) -> None:
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"input_text": "x"}])
    output = tmp_path / "p.jsonl"
    ended = run_here(capsys, "predict", "--model", tmp_path / "none", "--input", rows, "--output", output)
    assert ended.code == 2
    assert not output.exists()


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{ input_text }}", "(map it with --set data.columns.input_text=COLUMN); at least 9 more rows are like it"),
        ("{{ title }}", "(the model was trained with that column: add it to the rows); at least 9 more"),
    ],
)
def test_a_column_that_all_rows_lack_is_one_line(
    capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str, told: str
) -> None:
    monkeypatch.setattr(Classifier, "from_pretrained", lambda *_, **__: pytest.fail("loaded"))
    model = save_tiny(tmp_path / "model")
    change(model / "dhrd.json", input_template=template)
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"body": f"text {number}"} for number in range(30)])
    ended = run_here(capsys, "predict", "--model", model, "--input", rows, "--output", tmp_path / "out.jsonl")
    assert ended.code == 2 and len(ended.error_lines) == 1
    assert told in ended.err, ended.err


def test_what_must_be_given(capsys: Capsys) -> None:
    ended = run_here(capsys, "predict", "--model", "a", "--output", "-")
    assert ended.code == 2
    assert "--input" in ended.err
