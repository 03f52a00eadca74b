"""Where predictions go, by the output's name."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from dhrd._outputs import check_outputs
from dhrd.data.records import LabelSet
from dhrd.errors import ConfigError, SaveError
from dhrd.run.predict.journal import Mark
from dhrd.run.predict.sinks import Refused, errors_of, is_directory, open_sink, outputs_of
from dhrd.run.predict.tables import Columns

COLUMNS = Columns(labels=LabelSet(("a", "b")))
ROW = {"id": "r", "label": "a", "probabilities": {"a": 0.9, "b": 0.1}}
BAD = Refused("in.jsonl:7", "empty")


def write(output: str, *, told: list[Refused] | None = None, refused: tuple[Refused, ...] = (BAD,)) -> None:
    told = [] if told is None else told
    with open_sink(output, COLUMNS, {}, resume=False, tell=told.append) as sink:
        mark = Mark(num_read=2, num_written=1, num_refused=1)
        sink.write([ROW], refused, mark)
        sink.publish(mark)


def test_a_file_takes_its_place_with_its_errors(tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    write(str(output))
    assert json.loads(output.read_text()) == ROW
    assert json.loads(errors_of(output).read_text()) == {"where": "in.jsonl:7", "line": 7, "reason": "empty"}
    write(str(output), refused=())
    assert os.listdir(tmp_path) == ["o.jsonl"]


def test_modes_and_links_of_what_was_there_stay(tmp_path: Path) -> None:
    target, link = tmp_path / "far.jsonl", tmp_path / "o.jsonl"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    write(str(link), refused=())
    assert link.is_symlink()
    assert json.loads(target.read_text()) == ROW
    assert target.stat().st_mode & 0o777 == 0o640


def test_a_directory_may_be_a_disk_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mounted volume, say: what grows is in it, the list of skipped rows is beside it, and no part goes too early."""
    output, replace = tmp_path / "volume", os.replace
    output.mkdir()
    (output / "part-00000.parquet").write_text("old")
    (output / "part-00001.parquet").write_text("older")

    def moved(source: Path, target: Path) -> None:
        if output in Path(source).parents and output not in Path(target).parents:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        assert output in Path(target).parents or Path(source).parent == Path(target).parent
        assert (output / "part-00001.parquet").exists()
        replace(source, target)

    monkeypatch.setattr(os, "replace", moved)
    write(f"{output}/")
    assert sorted(os.listdir(tmp_path)) == ["volume", "volume.errors.jsonl"]
    assert json.loads(errors_of(output).read_text())["line"] == 7
    assert os.listdir(output) == ["part-00000.parquet"] and (output / "part-00000.parquet").read_bytes() != b"old"


def test_errors_lie_beside_the_output_by_the_name_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "o.jsonl").symlink_to(tmp_path / "far" / "o.jsonl")
    write(str(tmp_path / "o.jsonl"))
    assert sorted(os.listdir(tmp_path)) == ["far", "o.jsonl", "o.jsonl.errors.jsonl"]
    assert os.listdir(tmp_path / "far") == ["o.jsonl"]


@pytest.mark.parametrize("output", [".", "./", "../here", "../here/../here/"])
def test_this_directory_is_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    check_outputs(outputs_of("output", output), [])
    write(output)
    assert sorted(os.listdir(tmp_path)) == ["here", "here.errors.jsonl"]
    assert os.listdir(tmp_path / "here") == ["part-00000.parquet"]


@pytest.mark.parametrize("output", ["/", "//", ""])
def test_what_is_no_name_is_refused(output: str) -> None:
    with pytest.raises(ConfigError, match="give the name of a file"):
        check_outputs(outputs_of("output", output), [])


def test_a_stream_tells_of_bad_rows(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    told: list[Refused] = []
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write(str(tmp_path / "pipe"), told=told)
    assert json.loads(os.read(reader, 10_000)) == ROW
    os.close(reader)
    assert told == [BAD]


@pytest.mark.parametrize(("name", "expected"), [("new/", True), ("there", True), ("o.csv", False), ("new", False)])
def test_directories_are_known_by_their_slash_or_by_being_there(tmp_path: Path, name: str, expected: bool) -> None:
    (tmp_path / "there").mkdir()
    assert is_directory(f"{tmp_path}/{name}") is expected


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "part-00000.parquet").touch()
    assert [output.path for output in outputs_of("--output", str(tmp_path))][1:] == [tmp_path / "part-00000.parquet"]
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"contains files other than parts of predictions \(notes\.txt\)"):
        list(outputs_of("--output", str(tmp_path)))


def test_parts_and_errors_that_are_read_are_not_replaced(tmp_path: Path) -> None:
    for output, read in ((tmp_path, "part-00000.parquet"), (tmp_path / "o.csv", "o.csv.errors.jsonl")):
        (tmp_path / read).touch()
        with pytest.raises(ConfigError, match="would overwrite an input"):
            check_outputs(outputs_of("--output", str(output)), [tmp_path / read])
        (tmp_path / read).unlink()


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="No such file"):
        write(str(tmp_path / "no" / "o.jsonl"))


@pytest.mark.parametrize(("where", "line"), [("a.csv:12", 12), ("t.parquet:row 3", 3), ("elsewhere", None)])
def test_the_number_of_a_bad_row(where: str, line: int | None) -> None:
    assert Refused(where, "why").record()["line"] == line
