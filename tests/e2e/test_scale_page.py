"""The commands of docs/scale.md that need a teacher, several processes or a cluster run as written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.endpoint import FaultyEndpoint, serving
from helpers.pages import block
from helpers.rows import write_jsonl
from helpers.runs import environment, read_jsonl, rows, save_backbone, write_rows


def run(commands: str, place: Path, **variables: str) -> None:
    """As a shell does that stops at the first failure."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euc", commands], cwd=place, env=environment(PATH=path, **variables), capture_output=True, text=True,
        timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_rationales_come_in_parts(tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", [{**row, "rationale": None} for row in rows(21)])
    with serving(FaultyEndpoint()) as endpoint:
        run(block("Rationales on several machines"), tmp_path, OPENAI_API_KEY="key", OPENAI_BASE_URL=endpoint.url)
        assert endpoint.num_requests == 21
    parts = [len(read_jsonl(tmp_path / f"rationales-0{number}.jsonl")) for number in range(2)]
    assert min(parts) > 5 and sum(parts) == 21
    written = {row["id"]: row["rationale"] for row in read_jsonl(tmp_path / "rationales.jsonl")}
    assert written.keys() == {row["id"] for row in read_jsonl(train)}
    assert all(written.values())


@pytest.mark.parametrize("line", [0, 1])
def test_training_is_launched(tmp_path: Path, line: int) -> None:
    commands = block("Training in several processes").splitlines()
    assert len(commands) == 2
    backbone = save_backbone(tmp_path / "backbone")
    write_rows(tmp_path)
    config: dict[str, Any] = {
        "model": {"name_or_path": str(backbone)},
        "data": {"train": "train.jsonl", "validation": "validation.jsonl"},
        "training": {"mixed_precision": "no", "num_epochs": 1},
        "output_dir": "out",
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    run(f"{commands[line]} --device cpu", tmp_path)
    losses = [row for row in read_jsonl(tmp_path / "out" / "metrics.jsonl") if "loss" in row]
    assert len(losses) == -(-20 // (2 * 8))  # of two processes, with 8 rows each
    assert (tmp_path / "out" / "dhrd.json").exists()
