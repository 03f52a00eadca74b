"""What may be written: no input, no output twice, nothing under another kind's name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dhrd._outputs import FIGURE, JSON, JSON_LINES, Output, check_can_take_place, check_outputs
from dhrd.errors import ConfigError, SaveError


@pytest.mark.parametrize("way", ["itself", "relative", "symbolic link", "hard link"])
def test_an_input_by_any_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    source, link = tmp_path / "in.jsonl", tmp_path / "link.jsonl"
    source.touch()
    monkeypatch.chdir(tmp_path)
    if way == "symbolic link":
        link.symlink_to(source)
    elif way == "hard link":
        link.hardlink_to(source)
    output = {"itself": source, "relative": Path("in.jsonl")}.get(way, link)
    with pytest.raises(ConfigError, match=r"output .*: would overwrite an input \(.*in.jsonl\)"):
        check_outputs([Output("output", output)], [source])
    check_outputs([Output("output", tmp_path / "other.jsonl")], [source])


def test_a_file_of_a_directory_that_is_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.jsonl").touch()
    with pytest.raises(ConfigError, match="would overwrite an input"):
        check_outputs([Output("output", tmp_path / "deep" / "a.jsonl")], [tmp_path])


def test_two_outputs_may_not_be_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(ConfigError, match=r"second .*: would overwrite what first writes"):
        check_outputs([Output("first", path), Output("second", path)], [])
    check_outputs([Output("first", path), Output("first", path), Output("second", None)], [])


def test_a_name_says_what_it_holds(tmp_path: Path) -> None:
    for form, good, bad in ((JSON, "a.json", "a.jsonl"), (JSON_LINES, "rows", "a.csv"), (FIGURE, "a.SVG", "a")):
        check_outputs([Output("output", tmp_path / good, form)], [])
        with pytest.raises(ConfigError, match=f"the output is {form.name}; give a name that ends in"):
            check_outputs([Output("output", tmp_path / bad, form)], [])
    with pytest.raises(ConfigError, match="is a directory; give the name of a file"):
        check_outputs([Output("output", tmp_path)], [])


def test_a_place_that_is_not_there_is_told_before_anything_is_computed(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="No such file or directory"):
        check_outputs([Output("output", tmp_path / "none" / "a.json")], [])
    check_outputs([Output("output", Path(os.devnull))], [Path(os.devnull)])


def test_the_place_of_a_directory_that_nothing_can_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, link, to_none = tmp_path / "there", tmp_path / "link", tmp_path / "to none"
    there.mkdir()
    link.symlink_to(there)
    to_none.symlink_to(tmp_path / "no" / "thing")
    for path in (there, link, to_none, tmp_path / "none"):
        check_can_take_place("output", path)
    with pytest.raises(ConfigError, match="output /proc: is a mount point, which cannot be replaced; give a directory"):
        check_can_take_place("output", Path("/proc"))
    (tmp_path / "far").symlink_to("/proc/sys")
    with pytest.raises(ConfigError, match="far: is a link to another disk; give /proc/sys itself"):
        check_can_take_place("output", tmp_path / "far")
    monkeypatch.setattr(os.path, "ismount", lambda path: path == str(there))
    with pytest.raises(ConfigError, match="link: is a mount point"):
        check_can_take_place("output", link)
