"""`dhrd benchmark`: its lists, and what is refused before a model is loaded. What it measures: `unit/benchmark`."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.cli.benchmark import _parts, _sizes
from dhrd.errors import ConfigError
from helpers.runs import run_here


def test_lists_have_commas_between() -> None:
    assert _sizes(" 1, 8,32,") == [1, 8, 32]
    assert _parts("pipeline, loop,,") == ["pipeline", "loop"]


@pytest.mark.parametrize("text", ["", "0", "1,x", "-1", "1.5", ","])
def test_sizes_are_numbers_above_0(text: str) -> None:
    with pytest.raises(ConfigError, match="give positive integers separated by commas, for example 1,8,32"):
        _sizes(text)


def test_sizes_are_looked_at_before_anything_is_loaded(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ended = run_here(capsys, "benchmark", "--model", tmp_path / "none", "--batch-sizes", "0")
    assert ended.code == 2
    assert ended.error_lines[0].startswith("dhrd: error: --batch-sizes 0: give positive integers")
