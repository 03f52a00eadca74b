"""`dhrd doctor`."""

from __future__ import annotations

import pytest

from helpers.runs import run_here

Capsys = pytest.CaptureFixture[str]


def test_doctor(capsys: Capsys) -> None:
    ended = run_here(capsys, "doctor")
    assert ended.code == 0
    names = [line.split()[0] for line in ended.out.splitlines()]
    assert {"python", "torch", "transformers", "platform", "cpu", "gpu", "precision", "hub", "extras"} <= set(names)
