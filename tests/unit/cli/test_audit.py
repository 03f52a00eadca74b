"""`dhrd audit labels`, as its page has it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from dhrd.evaluation import folds
from helpers.folds import assert_goes_on
from helpers.runs import flags, read_jsonl, run_here, settings, write_rows

DOCS = Path(__file__).parents[3] / "docs"


def test_the_command_of_the_page(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path, num_train=30)
    (command,) = re.findall(r"^dhrd (audit labels.*(?:\\\n.*)*)$", (DOCS / "label-audit.md").read_text(), re.MULTILINE)
    words = shlex.split(command.replace("\\\n", " "))
    words[words.index("--config") : words.index("--config") + 2] = flags(settings(tiny_backbone, tmp_path))
    ended = run_here(capsys, *words)
    assert ended.code == 0, ended.err
    rows = read_jsonl(tmp_path / "labels.jsonl")
    assert sorted(row["id"] for row in rows) == sorted(f"r{i}" for i in range(30))
    assert {witness for row in rows for witness in row["witnesses"]} == {"classifier", "rationale"}
    assert (tmp_path / "labels.html").is_file() and "all rows are in labels.jsonl" in ended.out
    assert not (tmp_path / "labels.jsonl.folds").exists()


def test_an_interrupted_audit_keeps_its_folds(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path, num_train=30)
    given = ["audit", "labels", *flags(settings(tiny_backbone, tmp_path)), "--output", str(tmp_path / "labels.jsonl")]
    assert_goes_on(monkeypatch, capsys, given, num_folds=5, at=3)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--output", "labels.jsonl"], "no rows given"),
        (["--output", "train.jsonl", "--data", "train.jsonl"], "would overwrite an input"),
        (["--output", "labels.csv", "--data", "train.jsonl"], "JSON lines"),
        (["--output", "labels.jsonl", "--data", "train.jsonl", "--folds", "40"], "leave one empty"),
    ],
)
def test_errors_come_before_training(
    arguments: list[str],
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folds, "_train", lambda *_: pytest.fail("trained"))
    write_rows(tmp_path)
    ended = run_here(capsys, "audit", "labels", *arguments)
    assert ended.code == 2 and problem in ended.err and ended.err.count("\n") == 1
