"""`dhrd reproduce`, from the command line to the report: resuming, failing, choosing, several processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dhrd.errors import ConfigError, NonFiniteError
from dhrd.experiments import workers as module
from dhrd.experiments.cell_result import CellResult
from dhrd.experiments.reproduce import reproduce
from dhrd.experiments.run_cell import run_cell
from helpers.experiments import command, make_request
from helpers.rows import write_jsonl
from helpers.runs import Ended, flags, rows, run_here, settings, write_rows

Command = Callable[..., Ended]


@pytest.fixture
def dhrd(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, in this process."""
    return lambda *arguments: run_here(capsys, *arguments)


def cell_files(directory: Path) -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_text()) for path in sorted((directory / "rep/cells").glob("*.json"))}


def test_a_study_from_the_command_line(dhrd: Command, tiny_backbone: Path, tmp_path: Path) -> None:
    arguments = command(tiny_backbone, tmp_path, "--seeds", "2")
    ended = dhrd(*arguments)
    assert ended.code == 0, ended.err
    assert len(cell_files(tmp_path)) == 4
    report = json.loads((tmp_path / "rep/report.json").read_text())
    assert report["study"] == "main"
    assert report["undone"] == []
    (task,) = report["backbones"][0]["tasks"]
    assert [arm["arm"] for arm in task["arms"]] == ["pooled", "dhrd"]
    assert report["primary"]["num_seeds"] == 2
    assert report["answer"].casefold() == report["primary"]["verdict"].casefold() + "."
    assert "2 seeds" in ended.out
    for name in ("report.html", "report.md"):
        assert report["answer"] in (tmp_path / "rep" / name).read_text()


def test_the_same_command_runs_nothing_twice(
    dhrd: Command, tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = command(tiny_backbone, tmp_path, "--seeds", "1")
    assert dhrd(*arguments).code == 0
    before = cell_files(tmp_path)
    monkeypatch.setattr(module, "run_cell", pytest.fail)
    assert dhrd(*arguments).code == 0
    assert cell_files(tmp_path) == before


def test_a_run_that_was_killed_goes_on_after_the_last_cell(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = make_request(tiny_backbone, tmp_path, num_seeds=2)
    ran: list[str] = []

    def killed(cell: Any, cache: Any) -> CellResult:
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append(cell.key)
        return run_cell(cell, cache)

    monkeypatch.setattr(module, "run_cell", killed)
    with pytest.raises(KeyboardInterrupt):
        reproduce(request, device="cpu")
    again: list[str] = []
    monkeypatch.setattr(module, "run_cell", lambda cell, shop: again.append(cell.key) or run_cell(cell, shop))
    outcome = reproduce(request, device="cpu")
    assert len(again) == 1
    assert {cell.key for cell in outcome.cells} == {*ran, *again}


def test_one_failed_cell_leaves_the_others_and_is_listed(
    dhrd: Command, tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges(cell: Any, cache: Any) -> CellResult:
        if cell.arm.name == "dhrd" and cell.config.seed == 0:
            raise NonFiniteError("step 3: lm_loss is nan")
        return run_cell(cell, cache)

    monkeypatch.setattr(module, "run_cell", diverges)
    arguments = command(tiny_backbone, tmp_path, "--seeds", "2")
    ended = dhrd(*arguments)
    assert ended.code == 1
    assert "1 cells failed" in ended.err
    report = json.loads((tmp_path / "rep/report.json").read_text())
    (undone,) = report["undone"]
    assert "DHRD · seed 0" in undone["cell"]
    assert undone["why"] == "failed: step 3: lm_loss is nan"
    assert report["primary"]["num_seeds"] == 1  # the seed that both arms have
    monkeypatch.undo()
    assert dhrd(*arguments).code == 0  # it is tried again
    assert len(cell_files(tmp_path)) == 4


def test_what_would_fail_everywhere_stops_at_the_first_cell(dhrd: Command, tiny_backbone: Path, tmp_path: Path) -> None:
    ended = dhrd(*command(tmp_path / "no_such_model", tmp_path))
    assert ended.code == 2
    assert "cannot be loaded: there is no such directory" in ended.err


def test_a_grid_is_chosen_then_run_and_reported(dhrd: Command, tiny_backbone: Path, tmp_path: Path) -> None:
    arguments = command(tiny_backbone, tmp_path, "--seeds", "1", "--grid", "training.learning_rate=1e-9,1e-2")
    ended = dhrd(*arguments)
    assert ended.code == 0, ended.err
    report = json.loads((tmp_path / "rep/report.json").read_text())
    assert len(report["choices"]) == 4
    assert all(choice["selected_on"] and choice["num_folds"] == 5 for choice in report["choices"])
    for arm in ("pooled", "dhrd"):
        (chosen,) = [one for one in report["choices"] if one["arm"] == arm and one["chosen"]]
        assert chosen["value"] == max(one["value"] for one in report["choices"] if one["arm"] == arm)
        shown = next(one for one in report["backbones"][0]["tasks"][0]["arms"] if one["arm"] == arm)
        assert shown["chosen"] == chosen["settings"]
        assert not shown["selected_on"]  # chosen on training rows, reported on validation
    assert not any("not tuned" in limit for limit in report["limits"])


def test_a_report_of_what_is_there_runs_nothing(dhrd: Command, tiny_backbone: Path, tmp_path: Path) -> None:
    ended = dhrd(*command(tiny_backbone, tmp_path, "--report-only", "--seeds", "1"))
    assert ended.code == 0, ended.err
    report = json.loads((tmp_path / "rep/report.json").read_text())
    assert len(report["undone"]) == 2
    assert report["answer"] == "No cell is finished yet."
    assert not cell_files(tmp_path)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--arms", "nobody"], "--arms nobody: main has pooled"),
        (["--tasks", "cb"], "leave one of them out"),
        (["--grid", "seed"], "write it as section.key=value,value"),
    ],
)
def test_what_cannot_be_is_one_line(
    dhrd: Command, tiny_backbone: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    ended = dhrd(*command(tiny_backbone, tmp_path, *more))
    assert ended.code == 2
    assert message in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_several_tasks_at_once_are_one_line(dhrd: Command, tiny_backbone: Path, tmp_path: Path) -> None:
    ended = dhrd(*command(tiny_backbone, tmp_path, "--set", "tasks={what: {column: label}, why: {}}"))
    assert ended.code == 2
    (line,) = ended.err.strip().splitlines()
    assert "a study supports a single task, but the settings list what, why under tasks: leave that out" in line
    assert not (tmp_path / "rep").exists()
    settled = ["--set", "tasks=null", "--set", "data.columns.label=label", "--dry-run", "--arms", "pooled"]
    assert dhrd(*command(tiny_backbone, tmp_path, "--set", "tasks={what: {column: label}}", *settled)).code == 0


def test_an_unknown_study_is_one_line(dhrd: Command) -> None:
    ended = dhrd("reproduce", "table9")
    assert ended.code == 2
    assert "table9: no such study; give one of main, ablation" in ended.err


def test_vllm_is_asked_for_by_name(tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dhrd.experiments.asked import check_data

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    request = make_request(tiny_backbone, tmp_path, study="throughput", arms=("dhrd", "cot_student_vllm"))
    with pytest.raises(ConfigError, match="pip install vllm"):
        check_data(request)


def test_every_study_runs_and_reports(dhrd: Command, tiny_backbone: Path, tmp_path: Path) -> None:
    """All arms of all studies in one directory: cells that studies share are run once."""
    write_rows(tmp_path)
    write_jsonl(tmp_path / "train.jsonl", rows(24, reasoned=1.0))
    given = flags(settings(tiny_backbone, tmp_path, "training.num_epochs=1", "training.batch_size=12"))
    out = ["--output", str(tmp_path / "rep"), "--device", "cpu", "--seeds", "1"]
    decoding = ["--max-new-tokens", "6", "--decode-limit", "3", "--temperature", "0"]
    num_cells = {}
    for study in ("main", "ablation", "weights", "throughput", "baselines", "data_scale", "schedules"):
        ended = dhrd("reproduce", study, *given, *out, *decoding)
        assert ended.code == 0, ended.err
        report = json.loads((tmp_path / "rep/report.json").read_text())
        assert report["undone"] == []
        assert report["primary"] is not None
        num_cells[study] = len(cell_files(tmp_path))
    assert num_cells["main"] == 2
    assert num_cells["ablation"] == 2 + 3
    assert num_cells["weights"] == 5 + 6  # pooled and (1, 1) are there
    assert num_cells["baselines"] == num_cells["throughput"] + 2  # pooled, DHRD and the student are there
