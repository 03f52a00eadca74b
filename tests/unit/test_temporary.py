"""Temporary files: their names, and whose writer lives."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dhrd._temporary import abandoned, is_temporary, lock, remove_directory, sweep, temporary

HOLD = (
    "import fcntl, os, sys, time; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX); print(flush=True); "
    "time.sleep(60)"
)


def test_a_name_of_its_own_beside_the_target(tmp_path: Path) -> None:
    target = tmp_path / ("rows" * 40)
    names = {temporary(target, tmp_path) for _ in range(20)}
    assert len(names) == 20 and all(map(is_temporary, names))
    assert {path.parent for path in names} == {tmp_path}
    assert max(len(path.name) for path in names) < 100
    assert not any(is_temporary(tmp_path / name) for name in ("rows", ".rows.partial", ".rows.1-0123abcd.partial.x"))


def test_only_what_no_process_holds_is_swept(tmp_path: Path) -> None:
    target = tmp_path / "[a]"  # a name that would be a pattern
    held, left = temporary(target, tmp_path), temporary(target, tmp_path)
    directory, other = temporary(target, tmp_path), temporary(tmp_path / "a", tmp_path)
    for path in (held, left, other):
        path.touch()
    directory.mkdir()
    (directory / "file").touch()
    with subprocess.Popen([sys.executable, "-c", HOLD, str(held)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        sweep(target, tmp_path)
        remaining = set(tmp_path.iterdir())
        process.kill()
    assert remaining == {held, other}
    sweep(target, tmp_path)
    assert set(tmp_path.iterdir()) == {other}


@pytest.mark.parametrize(
    ("name", "other"),
    [("out", "out.csv"), ("out.csv", "out"), ("a" * 60 + "1", "a" * 60 + "2"), ("é" * 90, "é" * 91)],
    ids=["shorter", "longer", "long", "of many bytes"],
)
def test_another_target_is_left_alone_whose_name_begins_alike(tmp_path: Path, name: str, other: str) -> None:
    ours, theirs = (temporary(tmp_path / one, tmp_path) for one in (name, other))
    for path in (ours, theirs):
        path.mkdir()
    found = list(abandoned(tmp_path / name, tmp_path))
    assert [path for path, _ in found] == [ours]
    os.close(found[0][1])
    sweep(tmp_path / name, tmp_path)
    assert list(tmp_path.iterdir()) == [theirs]


def test_a_directory_is_removed_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "work"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # as where a kill comes
        (target / "deep").mkdir(parents=True)
        remove_directory(target)
    assert [is_temporary(path) for path in tmp_path.iterdir()] == [True]
    (target / "deep").mkdir(parents=True)
    remove_directory(target)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_refused_twice_and_on_a_file_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    descriptors = [os.open(path, os.O_RDWR | os.O_CREAT) for _ in range(2)]
    assert [lock(descriptor, path) for descriptor in descriptors] == [True, False]
    os.close(descriptors[0])
    path.unlink()
    assert not lock(descriptors[1], path)
    os.close(descriptors[1])


def test_a_directory_that_goes_meanwhile_is_not_abandoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "rows"
    gone, left = sorted(temporary(target, tmp_path) for _ in range(2))
    gone.mkdir()
    left.mkdir()
    there, open_file = Path.is_dir, os.open

    def opened(path: Path, *arguments: int) -> int:
        if path == gone and there(gone):
            gone.rmdir()  # its writer publishes between the look and the opening
        return open_file(path, *arguments)

    monkeypatch.setattr(os, "open", opened)
    found = list(abandoned(target, tmp_path))
    assert [path for path, _ in found] == [left]
    os.close(found[0][1])
