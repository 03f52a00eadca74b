"""`dhrd select`, and the audit of what was asked for, as their page has them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from helpers.artifacts import save_tiny
from helpers.folds import assert_goes_on
from helpers.rows import write_jsonl
from helpers.runs import flags, read_jsonl, rows, run_here, settings, write_rows

DOCS = Path(__file__).parents[3] / "docs"


def commands() -> list[list[str]]:
    """Those of the page's blocks."""
    text = (DOCS / "selection.md").read_text(encoding="utf-8")
    return [shlex.split(line) for line in re.findall(r"^dhrd (.*)$", text, re.MULTILINE)]


def test_the_commands_of_the_page(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    labels, rationales, audit = commands()
    write_rows(tmp_path, num_train=60)
    own = flags(settings(tiny_backbone, tmp_path, "output_dir=output", "training.num_epochs=1"))
    assert run_here(capsys, "train", *own).code == 0

    pool = [{"id": row["id"], "input_text": f"{row['id']}: {row['input_text']}"} for row in rows(400)]
    write_jsonl(tmp_path / "pool.jsonl", pool)
    ended = run_here(capsys, *labels)
    assert ended.code == 0, ended.err
    assert "200 of 340 rows (60 known, 0 with the text of an earlier one), 200 of them drawn at random" in ended.out
    assert not {row["id"] for row in read_jsonl(tmp_path / "ask.jsonl")} & {f"r{i}" for i in range(60)}

    rationales[rationales.index("-n") + 1] = "10"
    at = rationales.index("--config")
    rationales[at : at + 2] = own
    ended = run_here(capsys, *rationales)
    assert ended.code == 0, ended.err
    asked = read_jsonl(tmp_path / "ask.jsonl")
    assert "10 of 15 rows (45 known" in ended.out and not any("rationale" in row for row in asked)
    assert [row["selected_by"] for row in asked].count("margin") == 9
    assert not (tmp_path / "ask.jsonl.folds").exists()

    reasoned = [{"id": row["id"], "rationale": row["rationale"]} for row in rows(60) if "rationale" in row]
    write_jsonl(tmp_path / "rationales.jsonl", reasoned)
    worst = run_here(capsys, *audit, "--json", "audit.json")
    assert worst.code == 0, worst.err
    assert "nats in the median" in worst.out and "were trained on" in worst.err


def test_rows_are_drawn_without_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same as with one, but for the score; a pool has no labels yet."""
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "pool.jsonl", [{"id": f"p{i}", "input_text": f"case {i}"} for i in range(30)])
    write_jsonl(tmp_path / "known.jsonl", [{"id": "p3"}])
    given = ["pool.jsonl", "-n", "5", "--exclude", "known.jsonl", "--seed", "1", "--device", "cpu"]
    ended = run_here(capsys, "select", *given, "--output", "ask.jsonl", "--json", "ask.json")
    assert ended.code == 0, ended.err
    assert "5 of 29 rows (1 known, 0 with the text of an earlier one), 5 of them drawn at random" in ended.out
    save_tiny(tmp_path / "model")
    ended = run_here(capsys, "select", *given, "--model", "model", "--output", "read.jsonl")
    assert ended.code == 0, ended.err
    drawn, read = (read_jsonl(tmp_path / name) for name in ("ask.jsonl", "read.jsonl"))
    assert [row | {"score": None} for row in read] == drawn
    assert {row["selected_by"] for row in drawn} == {"random"}


def test_rows_for_rationales_are_drawn_without_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pool = [{"id": f"p{i}", "input_text": f"case {i}", "label": "ab"[i % 2]} for i in range(9)]
    write_jsonl(tmp_path / "pool.jsonl", [row | {"rationale": "because"} for row in pool[:3]] + pool[3:])
    ended = run_here(capsys, "select", "pool.jsonl", "-n", 6, "--for", "rationale", "--output", "ask.jsonl")
    assert ended.code == 0, ended.err
    assert {row["id"] for row in read_jsonl(tmp_path / "ask.jsonl")} == {f"p{i}" for i in range(3, 9)}


def test_stdout_is_rows_alone(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path, num_train=20, reasoned=0.0)
    given = flags(settings(tiny_backbone, tmp_path, "training.num_epochs=1"))
    ended = run_here(capsys, "select", "train.jsonl", "--for", "rationale", "--folds", 2, "-n", 4, *given)
    assert ended.code == 0, ended.err
    assert len(ended.out.splitlines()) == 4 and "4 of 20 rows" in ended.err


def test_an_interrupted_selection_keeps_its_folds(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path, num_train=30, reasoned=0.0)
    given = ["select", "train.jsonl", "--for", "rationale", "--folds", 3, "-n", 4, "--output", "ask.jsonl"]
    given += flags(settings(tiny_backbone, tmp_path, "training.num_epochs=1"))
    assert_goes_on(monkeypatch, capsys, given, num_folds=3, at=2)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["pool.jsonl", "-n", "3", "--strategy", "badge"], "--strategy badge asks a model, and none is given: --model"),
        (
            ["pool.jsonl", "-n", "3", "--for", "rationale", "--strategy", "margin"],
            "--strategy margin asks a model, and none is given: --folds 5, or --model DIR",
        ),
        (["pool.jsonl", "-n", "3", "--folds", "5"], "--folds is of --for rationale"),
        (["pool.jsonl", "-n", "20"], "of the pool's 9 rows 9 are left to ask for"),
        (["pool.jsonl", "-n", "3", "--folds", "5", "--model", "m"], "give one of them"),
        (["pool.jsonl", "-n", "3", "--strategy", "best"], "--strategy best: unknown; give one of random, margin"),
        (["pool.jsonl", "-n", "3", "--for", "both"], "--for both: unknown; give label or rationale"),
        (["pool.jsonl", "-n", "3", "--model", "missing"], "missing: no such directory"),
        (
            ["pool.jsonl", "-n", "3", "--for", "rationale", "--folds", "2", "--output", "pool.jsonl"],
            "would take the place of what is read",
        ),
    ],
)
def test_errors_are_one_line(
    arguments: list[str],
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "pool.jsonl", rows(9))
    ended = run_here(capsys, "select", *arguments)
    assert ended.code == 2 and problem in ended.err and ended.err.count("\n") == 1
