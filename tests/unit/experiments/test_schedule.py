"""The list of studies and its runner: order, choices, deadline, what is missing, and cells of several machines."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dhrd.errors import DataError, ModelError
from dhrd.experiments import schedule, workers
from dhrd.experiments.agenda import read_agenda
from dhrd.experiments.cache import Cache
from dhrd.experiments.cell_result import CellResult
from dhrd.experiments.cells import Cell
from dhrd.experiments.run_cell import run_cell
from dhrd.experiments.schedule import look_at, run_agenda
from dhrd.experiments.workers import Submit, in_process
from helpers.experiments import look, write_plan

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`python benchmarks/evidence.py`, in this process, at ordinary priority."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    monkeypatch.setattr("os.nice", lambda by: by)
    sys.modules.pop("evidence", None)
    from evidence import main  # type: ignore[import-not-found]

    return lambda *arguments: main([str(argument) for argument in arguments])


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Cells run in this process, one at a time, as they are submitted: their titles."""
    ran: list[str] = []

    shop = Cache("cpu")

    def submit(cell: Cell) -> Future[CellResult]:
        ran.append(cell.title)
        return in_process(shop)(cell)

    @contextmanager
    def one(_jobs: int, cache: Cache, _threads: int | None) -> Iterator[Submit]:
        shop.places.update(cache.places)
        yield submit

    monkeypatch.setattr(schedule, "workers", one)
    return ran


def test_undone_cells_are_run_in_the_order_of_the_list(tiny_backbone: Path, tmp_path: Path, here: list[str]) -> None:
    later, urgent = {"name": "later", "seeds": 2}, {"name": "urgent", "arms": ["dhrd"], "priority": -1}
    path = write_plan(tmp_path, tiny_backbone, later, urgent)
    agenda = read_agenda(path)
    assert [entry.name for entry in agenda.chosen()] == ["urgent", "later"]
    shop = Cache("cpu")
    progress = look_at(agenda.chosen(), tmp_path, shop)
    assert [(work.num_done, work.num_cells) for work in progress.works] == [(0, 1), (0, 4)]
    run_agenda(progress, shop)
    assert [title.split(" · ")[2:] for title in here] == [
        ["DHRD", "seed 0"],
        ["pooled baseline", "seed 0"],  # DHRD at this seed is there: the entries share a directory
        ["pooled baseline", "seed 1"],
        ["DHRD", "seed 1"],
    ]
    assert progress.num_run == 4
    again = look(path)
    assert [(work.num_done, work.num_cells) for work in again.works] == [(4, 4), (1, 1)]
    run_agenda(again, shop)
    assert len(here) == 4


def test_a_choice_unlocks_the_cells_of_the_table(tiny_backbone: Path, tmp_path: Path, here: list[str]) -> None:
    grid = {"training.learning_rate": [1e-9, "1e-2"]}
    path = write_plan(tmp_path, tiny_backbone, {"grid": grid, "arms": ["pooled"], "seeds": 2})
    progress = look(path)
    (work,) = progress.works
    assert (work.num_waiting, work.num_cells) == (2, 2 * 5 + 2)
    run_agenda(progress, work.cache)
    assert ["fold" in title for title in here] == [True] * 10 + [False] * 2
    assert (work.num_waiting, work.num_done) == (0, 12)


def test_a_rate_that_diverges_loses_its_choice_once_and_for_all(
    tiny_backbone: Path, tmp_path: Path, here: list[str]
) -> None:
    path = write_plan(
        tmp_path, tiny_backbone, {"grid": {"training.learning_rate": ["1e-3", "1e30"]}, "arms": ["pooled"]}
    )
    progress = look(path)
    (work,) = progress.works
    run_agenda(progress, work.cache)
    assert len(here) == 2 * 5 + 1 and not progress.failures
    assert list(work.outcome.choices.values()) == [{"training.learning_rate": 1e-3}]
    assert (work.num_waiting, work.num_done) == (0, 11)
    again = look(path)
    run_agenda(again, work.cache)
    assert len(here) == 11


def test_an_arm_that_cannot_run_leaves_the_others_in_a_later_call(
    tiny_backbone: Path, tmp_path: Path, here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(cell: Any, cache: Any) -> CellResult:
        if cell.arm.name == "pooled":
            raise DataError("the arm pooled cannot be run on these rows")
        return run_cell(cell, cache)

    monkeypatch.setattr(workers, "run_cell", refuses)
    path = write_plan(tmp_path, tiny_backbone, {"name": "first", "arms": ["dhrd"]})
    first = look(path)
    run_agenda(first, first.works[0].cache)
    more = look(write_plan(tmp_path, tiny_backbone, {"name": "more", "seeds": 3}))
    run_agenda(more, more.works[0].cache)
    assert (more.works[0].num_done, len(more.failures), more.works[0].num_refused) == (3, 3, 0)


def test_no_cell_is_begun_that_would_not_finish(
    tiny_backbone: Path, tmp_path: Path, here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_plan(tmp_path, tiny_backbone, {"seeds": 5})
    progress = look(path)
    now = [0.0]
    monkeypatch.setattr(schedule.time, "monotonic", lambda: now[0])

    def slow(cell: Any, cache: Any) -> CellResult:
        now[0] += 10
        return run_cell(cell, cache)

    monkeypatch.setattr(workers, "run_cell", slow)
    run_agenda(progress, progress.works[0].cache, seconds=35)
    assert len(here) == 3  # the fourth would end at 40
    assert progress.num_cut == 0


def test_an_entry_that_cannot_run_leaves_the_others(tiny_backbone: Path, tmp_path: Path, here: list[str]) -> None:
    missing = {"name": "missing", "set": ["data.train=nowhere.jsonl", "data.validation=nowhere.jsonl"]}
    broken = {"name": "broken", "backbones": [str(tmp_path / "no_model")], "output": str(tmp_path / "broken")}
    progress = look(write_plan(tmp_path, tiny_backbone, missing, broken, {"name": "sound"}))
    assert "nowhere.jsonl" in progress.problems["missing"]
    run_agenda(progress, Cache("cpu"))
    assert progress.num_run == 2
    (failed,) = progress.failures
    assert failed.startswith("broken · ")
    assert [(work.num_done, work.num_cells, work.num_refused) for work in progress.works] == [(0, 2, 1), (2, 2, 0)]


def test_a_backbone_that_lies_elsewhere_is_the_same(tiny_backbone: Path, tmp_path: Path, here: list[str]) -> None:
    """Trained from a copy under another path, on rows in another folder: the cell's key and answers are the same."""
    one = write_plan(tmp_path / "one", tiny_backbone, {})
    run_agenda(look(one), Cache("cpu"))
    copy = shutil.copytree(tiny_backbone, tmp_path / "elsewhere")
    two = write_plan(tmp_path / "two", tiny_backbone, {})
    elsewhere = Cache("cpu", {str(tiny_backbone): str(copy)})
    run_agenda(look(two), elsewhere)
    files = [sorted((tmp_path / name / "out/cells").iterdir()) for name in ("one", "two")]
    assert [path.name for path in files[0]] == [path.name for path in files[1]]
    for ours, theirs in zip(*files, strict=True):
        assert json.loads(ours.read_text())["outcomes"] == json.loads(theirs.read_text())["outcomes"]
    with pytest.raises(ModelError, match="elsewhere_gone"):
        Cache("cpu", {str(tiny_backbone): str(tmp_path / "elsewhere_gone")}).backbone(look(two).works[0].request.base)


def test_from_the_command_line_in_processes(
    command: Callable[..., int], tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_plan(tmp_path, tiny_backbone, {"name": "own"})
    common = ["--plan", path, "--data", tmp_path, "--device", "cpu"]
    assert command(*common, "--list") == 0
    assert "own: 0 of 2 cells" in capsys.readouterr().out
    assert command(*common, "--seconds", "0.001") == 0
    assert "own: 0 of 2 cells" in capsys.readouterr().out
    assert command(*common, "--jobs", "2") == 0
    assert "own: 2 of 2 cells" in capsys.readouterr().out
    assert command(*common, "--report") == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["undone"] == []
    assert "--only own" in report["command"]


def test_entries_that_share_an_output_keep_a_report_each(
    tiny_backbone: Path, tmp_path: Path, command: Callable[..., int]
) -> None:
    """The one of the directory's name in it, others below."""
    output = str(tmp_path / "mail")
    path = write_plan(
        tmp_path,
        tiny_backbone,
        {"name": "mail", "output": output},
        {"name": "others", "output": output, "arms": ["dhrd"]},
        {"name": "alone", "output": str(tmp_path / "elsewhere")},
    )
    command("--plan", path, "--data", tmp_path, "--report", "--only", "others")
    assert [str(report.relative_to(tmp_path)) for report in tmp_path.rglob("report.md")] == ["mail/others/report.md"]
    command("--plan", path, "--data", tmp_path, "--report")
    places = sorted(str(report.relative_to(tmp_path)) for report in tmp_path.rglob("report.md"))
    assert places == ["elsewhere/report.md", "mail/others/report.md", "mail/report.md"]


def test_a_choice_that_another_entry_makes_unlocks_the_cells_here(
    tiny_backbone: Path, tmp_path: Path, here: list[str]
) -> None:
    grid = {"training.learning_rate": ["1e-3", "1e-2"]}
    one = {"name": "one", "grid": grid, "arms": ["pooled"], "judges": 1}
    path = write_plan(tmp_path, tiny_backbone, one, {**one, "name": "two", "seeds": 2})
    progress = look(path)
    run_agenda(progress, progress.works[0].cache)
    assert [(work.num_done, work.num_cells, work.num_waiting) for work in progress.works] == [(3, 3, 0), (4, 4, 0)]
    assert len(here) == 4


def test_a_reports_command_repeats_it(tiny_backbone: Path, tmp_path: Path, command: Callable[..., int]) -> None:
    path = write_plan(tmp_path, tiny_backbone, {"name": "own"})
    command("--plan", path, "--data", tmp_path, "--report", "--set", "training.num_epochs=2")
    given = json.loads((tmp_path / "out/report.json").read_text())["command"]
    options = f"--plan {path} --data {tmp_path} --set training.num_epochs=2 --only own"
    assert given == f"python benchmarks/evidence.py {options}"
