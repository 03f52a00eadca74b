"""A list of studies: what an entry may ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dhrd.errors import ConfigError
from dhrd.experiments.agenda import Agenda, read_agenda
from dhrd.experiments.cache import Cache
from dhrd.experiments.schedule import look_at
from helpers.experiments import look, write_plan


def test_rows_that_are_not_there_are_made_first(tiny_backbone: Path, tmp_path: Path) -> None:
    script = tmp_path / "make.py"
    script.write_text("import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])")
    made = tmp_path / "made.jsonl"
    step = {"creates": str(made), "run": [str(script), "{data}/train.jsonl", str(made)]}
    broken = {"creates": str(tmp_path / "never"), "run": [str(script), "nothing"]}
    path = write_plan(tmp_path, tiny_backbone, {"prepare": [step]}, {"name": "broken", "prepare": [broken]})
    look_at(read_agenda(path).chosen(["entry 0"]), tmp_path, Cache("cpu"), prepare=False)
    assert not made.exists()
    progress = look(path)
    assert made.is_file()
    assert "it makes" in progress.problems["broken"]


def test_rows_below_the_data_folder_are_made_once(tiny_backbone: Path, tmp_path: Path) -> None:
    script = tmp_path / "make.py"
    script.write_text("import sys; open(sys.argv[1], 'a').write('made')")
    step = {"creates": "{data}/made.txt", "run": [str(script), "{data}/made.txt"]}
    path = write_plan(tmp_path, tiny_backbone, {"prepare": [step]})
    for _ in range(2):
        look(path)
    assert (tmp_path / "made.txt").read_text() == "made"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"study": "table9"}, "table9: no such study; give one of main"),
        ({"arms": ["nobody"]}, "`arms` nobody: main has pooled"),
        ({"set": ["model.colour=red"]}, "model.colour"),
    ],
)
def test_what_an_entry_cannot_ask_for(
    tiny_backbone: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    progress = look(write_plan(tmp_path, tiny_backbone, change))
    assert message in progress.problems["entry 0"]


def test_a_list_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    with pytest.raises(ConfigError, match="No such file"):
        read_agenda(path)
    entry = {"name": "a", "study": "main", "output": "x"}
    for plan, message in (
        ({"entries": [entry | {"seed": 5}]}, "entries.0.seed"),
        ({"entries": [entry, entry]}, "two entries are named a"),
    ):
        path.write_text(json.dumps(plan))
        with pytest.raises(ConfigError, match=message):
            read_agenda(path)
    with pytest.raises(ConfigError, match="`only` b: the plan has a"):
        Agenda(entries=(entry,)).chosen(["b"])  # type: ignore[arg-type]


def test_a_grid_may_hold_any_value(tiny_backbone: Path, tmp_path: Path) -> None:
    grid = {"training.clip_norm": [None, 1.0], "training.calibrate": [True, False], "loss.lm_targets": ["all"]}
    (work,) = look(write_plan(tmp_path, tiny_backbone, {"grid": grid})).works
    assert {name: list(values) for name, values in work.request.grid.items()} == grid
