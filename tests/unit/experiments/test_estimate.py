"""How long cells will take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.runs import Ended, flags, run_here, settings, write_rows

Command = Callable[..., Ended]


@pytest.fixture
def dhrd(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, in this process."""
    return lambda *arguments: run_here(capsys, *arguments)


def command(backbone: Path, directory: Path, *more: str, overrides: tuple[str, ...] = ()) -> list[str]:
    write_rows(directory)
    given = flags(settings(backbone, directory, "training.num_epochs=1", *overrides))
    return ["reproduce", "main", *given, "--output", str(directory / "rep"), "--device", "cpu", *more]


def test_a_dry_run_lists_cells_with_an_estimate_and_runs_none(
    dhrd: Command, tiny_backbone: Path, tmp_path: Path
) -> None:
    ended = dhrd(*command(tiny_backbone, tmp_path, "--seeds", "2", "--dry-run"))
    assert ended.code == 0, ended.err
    assert "4 to run" in ended.out
    assert ended.out.count("DHRD · seed") == 2
    assert not (tmp_path / "rep").exists()
