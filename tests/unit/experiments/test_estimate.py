"""How long cells will take."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.experiments import command
from helpers.runs import run_here


def test_a_dry_run_lists_cells_with_an_estimate_and_runs_none(
    capsys: pytest.CaptureFixture[str], tiny_backbone: Path, tmp_path: Path
) -> None:
    ended = run_here(capsys, *command(tiny_backbone, tmp_path, "--seeds", "2", "--dry-run"))
    assert ended.code == 0, ended.err
    assert "4 to run" in ended.out
    assert ended.out.count("DHRD · seed") == 2
    assert not (tmp_path / "rep").exists()
