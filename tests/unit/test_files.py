"""Files that are whole or not there. The letters name reported cases."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dhrd._files import (
    LOCK,
    expanded,
    holds_nothing,
    is_stdout,
    is_stream,
    locked,
    replace_directory,
    writing,
    writing_directory,
)
from dhrd._temporary import temporary
from dhrd.errors import ConfigError, DhrdError, SaveError
from helpers.runs import read_jsonl


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077, 0o002])
def test_outputs_keep_the_umask(tmp_path: Path, mask: int) -> None:
    """A new file has the umask's mode, one that is replaced keeps its own."""
    (tmp_path / "private").touch(mode=0o600)
    (tmp_path / "private").chmod(0o600)
    before = os.umask(mask)
    try:
        for name in ("new", "private"):
            with writing(tmp_path / name) as file:
                file.write("text")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"new": 0o666 & ~mask, "private": 0o600}


def test_a_file_that_may_not_be_written(tmp_path: Path) -> None:
    target = tmp_path / "o"
    target.write_text("old")
    target.chmod(0o444)
    if os.access(target, os.W_OK):
        pytest.skip("this user may write any file")
    with pytest.raises(SaveError, match="Permission denied"), writing(target):
        pass
    assert target.read_text() == "old"


def test_a_long_name(tmp_path: Path) -> None:
    """A name of 255 bytes leaves none for a longer temporary one."""
    target = tmp_path / ("é" * 127 + "x")
    with writing(target) as file:
        file.write("text")
    assert target.read_text() == "text"


def test_f5_two_writers(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    with writing(target) as one, writing(target) as two:
        for _ in range(1000):
            one.row({"who": 1})
            two.row({"who": 2})
    assert {row["who"] for row in read_jsonl(target)} == {1}
    assert os.listdir(tmp_path) == ["out.jsonl"]


def test_f13_what_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "o").write_text("old")
    with pytest.raises(DhrdError) as caught, writing(tmp_path / "o") as file:
        file.write("new")
        raise DhrdError("no")
    assert caught.value.__notes__ == [f"nothing was written to {tmp_path / 'o'}"]
    assert (tmp_path / "o").read_bytes() == b"old"


def test_what_was_written_before_a_signal_is_not_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def interrupted(source: Path, target: Path) -> None:
        replace(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt) as stop, writing(tmp_path / "o") as file:
        file.write("new")
    assert not getattr(stop.value, "__notes__", [])
    assert (tmp_path / "o").read_text() == "new"


def test_f13_what_a_kill_left_goes_with_the_next_writing(tmp_path: Path) -> None:
    left, other = (temporary(tmp_path / name, tmp_path) for name in ("o", "o.other"))
    left.write_text("half")
    other.write_text("of another target")
    with writing(tmp_path / "o") as file, writing(tmp_path / "o"):  # the second leaves the first's alone
        file.write("new")
    assert sorted(os.listdir(tmp_path)) == [other.name, "o"]
    assert (tmp_path / "o").read_text() == "new"


def test_a_directory_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "artifact"
    target.mkdir()
    for name in ("kept.txt", "old.bin", "done.json"):
        (target / name).write_text("before")
    with pytest.raises(RuntimeError), writing_directory(target, last="done.json") as directory:
        (directory / "done.json").write_text("half")
        raise RuntimeError
    assert (target / "done.json").read_text() == "before"
    with writing_directory(target, last="done.json", stale=["*.bin"]) as directory:
        (directory / "done.json").write_text("after")
        assert (target / "done.json").read_text() == "before"
    assert {path.name: path.read_text() for path in target.iterdir()} == {"kept.txt": "before", "done.json": "after"}


def test_a_directory_takes_the_place_of_one_that_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, whole = tmp_path / "target", tmp_path / "whole"
    (tmp_path / "far" / "empty").mkdir(parents=True)
    (tmp_path / "far").chmod(0o750)
    target.symlink_to(tmp_path / "far")
    whole.mkdir()
    (whole / "a").write_text("new")
    with locked(target), pytest.raises(ConfigError, match="another process is writing there"):
        replace_directory(whole, target)
    (target / "mine").touch()
    with pytest.raises(ConfigError, match="is no longer empty; move it away"):
        replace_directory(whole, target)
    (target / "mine").unlink()
    temporary(target, target).touch()  # left by a kill
    with monkeypatch.context() as patch, pytest.raises(OSError, match="no"):
        patch.setattr(os, "replace", _refused)
        replace_directory(whole, target)
    assert target.is_dir() and whole.is_dir(), "it is still there, if nothing took its place"
    replace_directory(whole, target)
    assert target.is_symlink() and os.listdir(target) == ["a"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o750
    assert sorted(os.listdir(tmp_path)) == ["far", "target"]


def test_one_process_holds_a_directory(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with locked(target), pytest.raises(ConfigError, match="another process is writing there"), locked(target):
        pass
    assert not target.exists(), "made for nothing"
    assert holds_nothing(target)
    target.mkdir()
    (target / LOCK).touch()
    assert holds_nothing(target)
    (target / "a").touch()
    assert not holds_nothing(target)


def test_what_is_written_as_it_is(tmp_path: Path) -> None:
    assert is_stream(Path("-")) and is_stdout(Path("-")) and not is_stdout(None)
    assert is_stream(Path("/dev/null")) and is_stream(Path("/dev/fd/1"))
    (tmp_path / "file").touch()
    assert not is_stream(tmp_path / "file") and not is_stream(tmp_path / "none") and not is_stream(tmp_path)


def test_the_home_directory_in_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert (expanded("~/a"), expanded("~b"), expanded(5)) == ("/home/me/a", "~b", 5)
    assert expanded(Path("~/a")) == Path("/home/me/a")


def test_json_for_people_and_halves_of_pairs(tmp_path: Path) -> None:
    with writing(tmp_path / "a") as file:
        file.json({"é": 1})
        file.row({"text": "\ud83d"})
    assert (tmp_path / "a").read_text() == '{\n  "é": 1\n}\n{"text": "\\ud83d"}\n'


def _refused(*_: object) -> None:
    raise OSError("no")
