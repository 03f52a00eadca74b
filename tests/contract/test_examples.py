"""The examples' scripts, run as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from dhrd import load_config
from dhrd.data.sources import open_source
from helpers.rows import write_jsonl

REASONED = Path(__file__).parents[2] / "examples" / "superglue_reasoned.py"


def write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_jsonl(path, rows)


def keep(directory: Path, task: str) -> list[str | None]:
    """The ids of the training rows that the script kept, as training reads them."""
    given = [directory / "superglue", directory / "rationales", directory / "kept", "--tasks", task]
    subprocess.run([sys.executable, REASONED, *map(str, given)], check=True, capture_output=True)
    config = load_config(data__train=f"superglue:{task}", data__superglue_root=str(directory / "kept"))
    examples = open_source(config.data.train, config.data, split="train").load()
    return [example.id for example in examples]


def test_rows_without_a_rationale_leave_a_task(tmp_path: Path) -> None:
    # a line separator inside a text ends no row
    rows = [{"word": "way", "sentence1": f"one\u2028{n}", "sentence2": "b", "idx": n, "label": True} for n in range(4)]
    for split in ("train", "val"):
        write(tmp_path / "superglue" / "WiC" / f"{split}.jsonl", rows)
    write(tmp_path / "rationales" / "wic.jsonl", [{"id": f"wic-train-{n}", "rationale": "so"} for n in (3, 1, 9)])
    assert keep(tmp_path, "wic") == ["wic-train-1", "wic-train-3"]
    kept = (tmp_path / "kept" / "WiC" / "val.jsonl").read_bytes()
    assert kept == (tmp_path / "superglue" / "WiC" / "val.jsonl").read_bytes()


def test_answers_without_a_rationale_leave_multirc(tmp_path: Path) -> None:
    def paragraph(number: int) -> dict[str, Any]:
        answers = [{"text": f"a{n}", "idx": n, "label": n % 2} for n in range(3)]
        questions = [{"question": f"q{n}?", "idx": n, "answers": answers} for n in (10, 11)]
        return {"idx": number, "passage": {"text": "Some text.", "questions": questions}}

    for split in ("train", "val"):
        write(tmp_path / "superglue" / "MultiRC" / f"{split}.jsonl", [paragraph(5), paragraph(6)])
    names = ["multirc-train-6-11-0", "multirc-train-6-11-2"]
    write(tmp_path / "rationales" / "multirc.jsonl", [{"id": name, "rationale": "so"} for name in names])
    assert keep(tmp_path, "multirc") == names


def test_an_unknown_task_is_named(tmp_path: Path) -> None:
    given = [sys.executable, str(REASONED), *[str(tmp_path)] * 3, "--tasks", "sst"]
    with pytest.raises(subprocess.CalledProcessError) as raised:
        subprocess.run(given, check=True, capture_output=True, text=True)
    assert "--tasks sst: unknown; give of boolq, cb" in raised.value.stderr
