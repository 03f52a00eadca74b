"""An output of parts: whole or absent, gone on with, and published together, on a disk and elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.core import url_to_fs

from dhrd.errors import ConfigError, SaveError
from dhrd.run.predict.journal import Mark
from dhrd.run.predict.sinks import Refused
from dhrd.run.ray.parts import PartDone, PartsOutput, part_name

SETTINGS = {"model": "m", "setting": "s", "input": "i"}
DONE = PartDone(Mark(num_read=3, num_written=2, num_refused=1), (Refused("f:3", "empty"),))


@pytest.fixture(params=["disk", "memory"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PartsOutput]:
    system = fsspec.filesystem("memory")
    yield PartsOutput.of(f"{tmp_path}/out/" if request.param == "disk" else "memory://bucket/out/")
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def names(output: PartsOutput) -> list[str]:
    """All that is there, and beside it."""
    system, root = url_to_fs(output.directory)
    top = root.rpartition("/")[0]
    return sorted(path.removeprefix(top).lstrip("/") for path in system.find(top))


def make(output: PartsOutput, tmp_path: Path, name: str, content: bytes, done: PartDone = DONE) -> None:
    (tmp_path / "part").write_bytes(content)
    output.save(name, tmp_path / "part", done)
    (tmp_path / "part").unlink()


def test_parts_are_gone_on_with_and_published_together(output: PartsOutput, tmp_path: Path) -> None:
    system, root = url_to_fs(output.directory)
    with output.held():
        assert output.begin(SETTINGS, resume=True) == {}
        make(output, tmp_path, part_name(0, 0), b"first")
        assert not [name for name in names(output) if name.startswith("out/part")]
        assert output.begin(SETTINGS, resume=True) == {"part-00000-00000": DONE}
        make(output, tmp_path, part_name(1, 0), b"second", PartDone(Mark(num_written=1)))
        done = output.begin(SETTINGS, resume=True)
        assert len(done) == 2
        output.publish(done)
    assert names(output) == ["out.errors.jsonl", "out/part-00000-00000.parquet", "out/part-00001-00000.parquet"]
    assert system.cat_file(f"{root}/part-00001-00000.parquet") == b"second"
    assert b'"line": 3, "reason": "empty"' in system.cat_file(f"{root}.errors.jsonl")
    assert output.begin(SETTINGS, resume=True) == {}  # there is nothing to go on from
    make(output, tmp_path, part_name(0, 0), b"new", PartDone(Mark(num_written=1)))
    output.publish(output.begin(SETTINGS, resume=True))
    assert names(output) == ["out/part-00000-00000.parquet"]


def stopped_at_the_end(remove: Callable[..., None]) -> Callable[..., None]:
    """A removal that removes all but a directory."""

    def removed(self: Any, path: str, *, recursive: bool = False) -> None:
        if recursive:
            raise KeyboardInterrupt
        remove(self, path)

    return removed


@pytest.mark.parametrize("num_moves", [0, 1, 2, 3])
def test_stopped_while_parts_take_their_places(
    output: PartsOutput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_moves: int
) -> None:
    """Over an older output: what is there already is kept, and the rest is moved."""
    system, root = url_to_fs(output.directory)
    output.begin(SETTINGS, resume=False)
    for name in ("part-00000-00000", "part-00009-00000"):
        system.pipe_file(f"{root}/{name}.parquet", b"old")
    parts = [part_name(0, number) for number in range(3)]
    for name in parts:
        make(output, tmp_path, name, name.encode())
    move, moved = type(system).mv, []

    def stopping(self: Any, source: str, target: str, **more: Any) -> None:
        if len(moved) == num_moves and target.endswith(".parquet"):
            raise KeyboardInterrupt
        move(self, source, target, **more)
        moved.extend([target] if target.endswith(".parquet") else [])

    with monkeypatch.context() as patch:
        patch.setattr(type(system), "mv", stopping)
        if num_moves == len(parts):  # all are there, and what told of them is not gone
            patch.setattr(type(system), "rm", stopped_at_the_end(type(system).rm))
        with pytest.raises(KeyboardInterrupt) as stop:
            output.publish(output.begin(SETTINGS, resume=True))
    assert stop.value.__notes__ == [f"{output.directory} may be incomplete; complete it with `resume`"]
    done = output.begin(SETTINGS, resume=True)
    assert sorted(done) == parts
    output.publish(done)
    assert names(output) == ["out.errors.jsonl", *(f"out/{name}.parquet" for name in parts)]
    assert [system.cat_file(f"{root}/{name}.parquet") for name in parts] == [name.encode() for name in parts]


def test_other_settings_are_refused_and_without_resume_it_begins_anew(output: PartsOutput, tmp_path: Path) -> None:
    output.begin(SETTINGS, resume=False)
    make(output, tmp_path, part_name(0, 0), b"first")
    with pytest.raises(ConfigError, match="the interrupted run had another input; use"):
        output.begin({**SETTINGS, "input": "other"}, resume=True)
    assert output.begin({**SETTINGS, "input": "other"}, resume=False) == {}
    assert output.begin({**SETTINGS, "input": "other"}, resume=True) == {}


def test_a_part_without_what_is_told_of_it_is_none(output: PartsOutput, tmp_path: Path) -> None:
    output.begin(SETTINGS, resume=False)
    make(output, tmp_path, part_name(0, 0), b"first")
    system, root = url_to_fs(output.directory)
    system.rm(f"{root}/.partial/part-00000-00000.json")
    assert output.begin(SETTINGS, resume=True) == {}


def test_other_files_are_left_alone(output: PartsOutput) -> None:
    system, root = url_to_fs(output.directory)
    system.makedirs(root)
    system.pipe_file(f"{root}/notes.txt", b"mine")
    with pytest.raises(ConfigError, match=r"contains files other than parts of predictions \(notes.txt\)"):
        output.begin(SETTINGS, resume=False)
    assert names(output) == ["out/notes.txt"]


def test_who_died_over_a_part_is_counted_until_another_job(output: PartsOutput) -> None:
    output.begin(SETTINGS, resume=False)
    system, root = url_to_fs(output.directory)
    for number in range(2):  # whoever ends by itself, in an error too, takes this away
        system.pipe_file(f"{root}/.partial/part-00000-00000.begun-{number}", b"1")
    with pytest.raises(ZeroDivisionError), output.attempt("part-00000-00000") as num_deaths:
        assert num_deaths == 2
        raise ZeroDivisionError
    with output.attempt("part-00000-00000") as num_deaths:
        assert num_deaths == 0
        output.begin(SETTINGS, resume=True)
        with output.attempt("part-00000-00000") as num_deaths:
            assert num_deaths == 0


def test_an_output_is_a_directory(tmp_path: Path) -> None:
    for name in (f"{tmp_path}/o.parquet", "memory://bucket/o.parquet"):
        with pytest.raises(ConfigError, match="give a name that ends in a slash"):
            PartsOutput.of(name)
    assert PartsOutput.of(str(tmp_path)).directory == str(tmp_path)


def test_two_jobs_do_not_write_one_place(tmp_path: Path) -> None:
    output = PartsOutput.of(f"{tmp_path}/out/")
    with output.held(), pytest.raises(ConfigError, match="another process is writing there"), output.held():
        pass


def test_a_place_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match=r"could not be saved \(.*run again with `resume`"):
        PartsOutput(f"{tmp_path}/file/out").begin(SETTINGS, resume=False)


def test_what_is_read_is_not_written_over(output: PartsOutput) -> None:
    output.check_apart([f"{output.directory}s/part-0.parquet", "/elsewhere/part-0.parquet"])
    with pytest.raises(ConfigError, match=r"would overwrite an input \(.*part-0\.parquet\)"):
        output.check_apart([f"{output.directory}/part-0.parquet"])


def test_nor_where_only_one_of_the_two_is_an_address(tmp_path: Path) -> None:
    for output, file in ((f"{tmp_path}/", f"file://{tmp_path}/a.csv"), (f"file://{tmp_path}/", f"{tmp_path}/a.csv")):
        with pytest.raises(ConfigError, match="would overwrite an input"):
            PartsOutput.of(output).check_apart([file])
