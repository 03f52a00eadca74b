"""What grows beside a target, and what of it another run takes over."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from dhrd._temporary import is_temporary
from dhrd.errors import ConfigError
from dhrd.run.predict.journal import Mark, journal

SETTINGS = {"model": "m", "setting": "s"}


class Stopped(Exception):
    """What ends a run."""


def run(target: Path, *, num_marks: int, tail: bytes = b"", resume: bool = False, **other: str) -> Mark:
    """Append some marked lines, then a tail without a mark, and stop; gives the mark that it began with."""
    begun = Mark()
    with suppress(Stopped), journal(target, SETTINGS | other, resume=resume, name=str(target)) as work:
        begun = work.mark
        for number in range(begun.num_read, begun.num_read + num_marks):
            work.append("rows", f"{number}\n".encode())
            work.log(Mark(num_read=number + 1, num_written=number + 1, sizes=work.sizes()))
        work.append("rows", tail)
        raise Stopped
    return begun


def left(target: Path) -> list[Path]:
    return [path for path in target.parent.iterdir() if is_temporary(path)]


def test_the_next_run_goes_on_at_the_last_mark(tmp_path: Path) -> None:
    target = tmp_path / "o"
    assert run(target, num_marks=3, tail=b"half a li").num_read == 0
    assert run(target, num_marks=2, tail=b"more", resume=True).num_read == 3
    with journal(target, SETTINGS, resume=True, name="o") as work:
        assert work.mark.num_read == 5
        assert (work.directory / "rows").read_bytes() == b"0\n1\n2\n3\n4\n"
    assert left(target) == []


def test_in_a_directory_that_is_there_it_is_inside(tmp_path: Path) -> None:
    """It may be a disk of its own; what was begun before it was there goes on too."""
    target = tmp_path / "parts"
    assert run(target, num_marks=2).num_read == 0
    target.mkdir()
    assert run(target, num_marks=1, resume=True).num_read == 2
    assert run(target, num_marks=1).num_read == 0
    assert left(target) == [] and len(list(target.iterdir())) == 1
    assert run(target, num_marks=0, resume=True).num_read == 1
    with journal(target, SETTINGS, resume=True, name="parts"):
        pass
    assert list(target.iterdir()) == []


def test_a_mark_that_was_not_wholly_written_is_none(tmp_path: Path) -> None:
    target = tmp_path / "o"
    run(target, num_marks=3)
    (log,) = (path / "log" for path in left(target))
    log.write_bytes(log.read_bytes()[:-9])
    assert run(target, num_marks=1, resume=True).num_read == 2
    assert run(target, num_marks=0, resume=True).num_read == 3  # what is logged next is a line of its own


def test_a_file_that_was_begun_after_the_mark_goes(tmp_path: Path) -> None:
    with suppress(Stopped), journal(tmp_path / "o", SETTINGS, resume=False, name="o") as work:
        work.append("rows", b"0")
        work.log(Mark(num_read=1, sizes=work.sizes()))
        work.append("errors", b"half a li")
        raise Stopped
    with journal(tmp_path / "o", SETTINGS, resume=True, name="o") as work:
        assert not (work.directory / "errors").exists()


def test_work_without_a_mark_goes(tmp_path: Path) -> None:
    run(tmp_path / "o", num_marks=0, tail=b"rows")
    assert left(tmp_path / "o") == []


def test_without_resume_what_was_left_goes(tmp_path: Path) -> None:
    run(tmp_path / "o", num_marks=3)
    assert run(tmp_path / "o", num_marks=0).num_read == 0
    assert left(tmp_path / "o") == []


def test_other_settings_are_refused_and_the_work_stays(tmp_path: Path) -> None:
    run(tmp_path / "o", num_marks=3)
    with pytest.raises(ConfigError, match="had another model and another setting"):
        run(tmp_path / "o", num_marks=1, resume=True, model="n", setting="t")
    assert run(tmp_path / "o", num_marks=0, resume=True).num_read == 3


def test_work_of_a_living_run_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "o"
    with journal(target, SETTINGS, resume=False, name="o") as living:
        living.append("rows", b"theirs")
        living.log(Mark(num_read=1, sizes=living.sizes()))
        for resume in (False, True):
            assert run(target, num_marks=0, resume=resume).num_read == 0
        assert (living.directory / "rows").read_bytes() == b"theirs"


def test_of_several_the_one_that_came_furthest_is_taken(tmp_path: Path) -> None:
    target, held = tmp_path / "o", []
    for num_marks in (2, 5, 3):
        run(target, num_marks=num_marks)
        for path in left(target):
            if path not in held:
                held.append(path)
                os.rename(path, tmp_path / f"aside{num_marks}")
    for num_marks, path in zip((2, 5, 3), held, strict=True):
        os.rename(tmp_path / f"aside{num_marks}", path)
    assert run(target, num_marks=0, resume=True).num_read == 5


def test_what_was_appended_can_be_cut(tmp_path: Path) -> None:
    with journal(tmp_path / "o", SETTINGS, resume=False, name="o") as work:
        work.append("rows", b"head and rows")
        work.cut("rows", 4)
        work.append("rows", b"!")
        assert work.sizes()["rows"] == 5
        work.close("rows")
        assert (work.directory / "rows").read_bytes() == b"head!"
