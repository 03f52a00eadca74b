"""metrics.jsonl: each line at once, and none of a part of the run that is run again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dhrd.errors import SaveError
from dhrd.training.trackers.jsonl import JsonlTracker
from helpers.rows import write_jsonl
from helpers.runs import read_jsonl

LINES = [
    {"step": 1, "loss": 1.5},
    {"step": 2, "loss": 1.25},
    {"step": 2, "eval_accuracy": 0.5},
    {"step": 3, "loss": 1.0},
]


def test_each_line_is_on_disk_at_once(tmp_path: Path) -> None:
    tracker = JsonlTracker(tmp_path / "new" / "metrics.jsonl")
    for number, line in enumerate(LINES, 1):
        tracker.log({key: value for key, value in line.items() if key != "step"}, int(line["step"]))
        assert read_jsonl(tmp_path / "new" / "metrics.jsonl") == LINES[:number]


@pytest.mark.parametrize(("step", "kept"), [(0, 0), (1, 1), (2, 3), (3, 4), (9, 4)])
def test_lines_after_the_checkpoint_are_cut_off(tmp_path: Path, step: int, kept: int) -> None:
    path = write_jsonl(tmp_path / "metrics.jsonl", LINES)
    tracker = JsonlTracker(path, step)
    assert read_jsonl(path) == LINES[:kept]
    tracker.log({"loss": 0.5}, step + 1)
    assert read_jsonl(path) == [*LINES[:kept], {"step": step + 1, "loss": 0.5}]


@pytest.mark.parametrize("torn", ['{"step": 4, "lo', '{"step": 4, "loss": 1.0}', "{", '{"step": 4, "loss": 0.\udc80'])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, torn: str) -> None:
    path = write_jsonl(tmp_path / "metrics.jsonl", LINES)
    path.write_bytes(path.read_bytes() + torn.encode("utf-8", "surrogateescape"))
    JsonlTracker(path, 4).log({"loss": 0.5}, 5)
    assert read_jsonl(path) == [*LINES, {"step": 5, "loss": 0.5}]


def test_a_place_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match=r"could not be saved \(File exists\)"):
        JsonlTracker(tmp_path / "file" / "metrics.jsonl")


def test_a_number_that_json_lacks_is_still_json(tmp_path: Path) -> None:
    """The gradient's norm of an update that half precision skips."""
    JsonlTracker(tmp_path / "metrics.jsonl").log({"grad_norm": float("inf"), "loss": 1.0}, 1)
    (line,) = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line, parse_constant=pytest.fail) == {"step": 1, "grad_norm": "Infinity", "loss": 1.0}
