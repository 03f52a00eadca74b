"""Files of checkpoints: read as they were written, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dhrd.errors import CheckpointError
from dhrd.training import checkpoint_files as files
from dhrd.training.position import Position

IDENTITY = {"rows": "abc", "labels": ["a", "b"]}


def write(directory: Path, step: int) -> Path:
    """A checkpoint of one file."""
    path = directory / f"step-{step:08d}"
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(bytes([step]))
    files.write_state(path, Position(step=step, update=step), IDENTITY)
    return path


def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert files.read_state(write(tmp_path, 3)) == (Position(step=3, update=3), IDENTITY)


@pytest.mark.parametrize("harm", ["change", "add", "remove"])
def test_a_file_that_differs_from_its_digest_is_named(tmp_path: Path, harm: str) -> None:
    path = write(tmp_path, 3)
    name = "more.pt" if harm == "add" else "model.safetensors"
    (path / name).unlink() if harm == "remove" else (path / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=rf"step-00000003/{name}: missing or damaged"):
        files.read_state(path)


def test_a_state_of_another_step_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, 3).rename(tmp_path / "step-00000004")
    with pytest.raises(CheckpointError, match="step 3 is not a position of step-00000004"):
        files.read_state(path)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"position": {}}'])
def test_a_damaged_state_is_refused(tmp_path: Path, content: str) -> None:
    path = write(tmp_path, 3)
    (path / "state.json").write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"state\.json: damaged"):
        files.read_state(path)


@pytest.mark.parametrize("value", [None, 3, {"step": "1"}, {"step": -1}, {"stop": 1}])
def test_a_record_of_other_fields_is_refused(value: object) -> None:
    with pytest.raises(CheckpointError, match="is not a position"):
        files.as_record(Position, value, Path("state.json"))


def test_the_newest_whole_one_is_found(tmp_path: Path) -> None:
    directory = tmp_path / "out" / "checkpoints"
    second, third = write(directory, 2), write(directory, 3)
    (directory / "step-00000009").mkdir()  # no state: it was not finished
    assert files.whole_checkpoints(directory) == [second, third]
    assert files.find_checkpoint(tmp_path / "out") == third
    assert files.run_directory(tmp_path / "out") == tmp_path / "out"
    assert files.find_checkpoint(second) == second
    assert files.run_directory(second) == (tmp_path / "out").resolve()
    assert files.run_directory(directory) == tmp_path / "out"
    (third / "model.safetensors").write_bytes(b"")
    assert files.find_checkpoint(tmp_path / "out") == second
    (second / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="there is no complete checkpoint"):
        files.find_checkpoint(tmp_path / "out")


def test_only_what_is_ours_is_removed(tmp_path: Path) -> None:
    write(tmp_path, 2)
    (tmp_path / ".partial-00000003").mkdir()
    for name in ("best-00000003.safetensors", "run.json", "notes.txt"):
        (tmp_path / name).write_text(json.dumps(name), encoding="utf-8")
    files.remove_checkpoints(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "notes.txt").unlink()
    files.remove_checkpoints(tmp_path)
    assert not tmp_path.exists()
