"""`dhrd doctor`."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from helpers.runs import run_here

Capsys = pytest.CaptureFixture[str]


def test_doctor(capsys: Capsys) -> None:
    ended = run_here(capsys, "doctor")
    assert ended.code == 0
    names = [line.split()[0] for line in ended.out.splitlines()]
    assert {"python", "torch", "transformers", "platform", "cpu", "gpu", "precision", "hub", "extras"} <= set(names)


def test_a_program_may_read_it(capsys: Capsys, repository: Path) -> None:
    ended = run_here(capsys, "doctor", "--json", "-")
    told = json.loads(ended.out)
    assert told["versions"].keys() >= {"python", "torch", "dhrd"}
    assert told["threads"] >= 1 and told["mixed_precision"] in ("no", "bf16", "fp16")
    extras = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    assert sorted([*told["extras"], *told["missing_extras"]]) == sorted(set(extras) - {"dev", "docs"})
    assert ended.err.startswith("python ")  # what it says for people is beside
