"""Outputs of predictions: a stream, a file, or a directory of parts; the last two can be resumed."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from dhrd._files import Writer, check_replaceable, is_stream, replace_file, saving, writing
from dhrd._json import json_line
from dhrd._outputs import JSON_LINES, Format, Output
from dhrd._temporary import sweep, temporary
from dhrd.errors import ConfigError
from dhrd.run.predict.journal import Journal, Mark, journal
from dhrd.run.predict.tables import Columns, Csv, JsonLines, Parquet, Record, Table

PREDICTIONS = Format("predictions", (".jsonl", ".jsonl.gz", ".csv", ".parquet", ""))
ERRORS = ".errors.jsonl"
_TABLES: dict[str, Callable[[Columns], Table]] = {
    ".jsonl": lambda columns: JsonLines(),
    ".jsonl.gz": lambda columns: JsonLines(gzipped=True),
    ".csv": Csv,
    ".parquet": Parquet,
    "": lambda columns: JsonLines(),
}
_PART_WINDOWS = 64
PART = "part-*.parquet"
"""Pattern of part names."""
_NUMBER = re.compile(r"(\d+)$")


@dataclass(frozen=True, slots=True)
class Refused:
    """A skipped row: where it is, and why it was skipped."""

    where: str
    reason: str

    def record(self) -> Record:
        """The record to write: `where`, the number of the line or row, and `reason`."""
        number = _NUMBER.search(self.where)
        return {"where": self.where, "line": int(number[1]) if number else None, "reason": self.reason}


class RowSink(Protocol):
    """A sink that takes predictions window by window."""

    @property
    def mark(self) -> Mark:
        """The progress so far."""

    def write(self, records: Sequence[Record], refused: Sequence[Refused], mark: Mark | None) -> None:
        """Take a window; with a mark, another run may resume after it."""


class Sink(RowSink, Protocol):
    """A receiver that becomes an output."""

    def publish(self, mark: Mark) -> None:
        """Put the output in place; the mark counts everything in it."""


def is_directory(output: str) -> bool:
    """Whether an output is a directory of parts: it exists as one, or its name ends in a slash."""
    return output.endswith("/") or (os.path.isdir(output) and not is_stream(Path(output)))


def errors_of(path: Path) -> Path:
    """The file beside an output that lists skipped rows; for a directory such as `.`, its real name is used.

    Raises:
        ConfigError: The path is the file system's root.
    """
    named = path if path.name not in ("", "..") else Path(os.path.realpath(path))
    if not named.name:
        raise ConfigError(f"{path}: predictions cannot be written there; give the name of a file or directory")
    return named.with_name(named.name + ERRORS)


def outputs_of(option: str, output: str) -> Iterator[Output]:
    """The files that an output may create or replace, for `check_outputs`.

    Raises:
        ConfigError: It is a directory with files other than parts.
    """
    path = Path(output)
    if not is_directory(output):
        yield Output(option, path, PREDICTIONS)
    if not is_stream(path):
        yield Output(option, errors_of(path), JSON_LINES)
    if not is_directory(output):
        return
    for file in sorted(path.iterdir()) if path.is_dir() else ():
        check_part(path, file.name)
        if not (file.name.startswith(".") and file.is_dir()):  # left by a job on a cluster
            yield Output(option, file)


def check_part(directory: object, name: str) -> None:
    """Refuse a parts directory that contains another file; hidden ones, left by jobs, are allowed.

    Raises:
        ConfigError: The name is neither that of a part nor hidden.
    """
    if not Path(name).match(PART) and not name.startswith("."):
        raise ConfigError(f"{directory}: contains files other than parts of predictions ({name}); give another name")


@contextmanager
def open_sink(
    output: str, columns: Columns, settings: Mapping[str, str], *, resume: bool, tell: Callable[[Refused], None]
) -> Iterator[Sink]:
    """Open an output, which is in place once it is published.

    Args:
        output: A path, whose suffix determines the format.
        columns: The columns of a prediction.
        settings: What must be the same for another run to resume.
        resume: Continue with what an interrupted run left.
        tell: Called with skipped rows if the output is a stream, which has no file for them.

    Raises:
        ConfigError: The work left was made with other settings.
        SaveError: The disk is full, or the place not writable.
    """
    path = Path(output)
    if is_stream(path):
        with writing(path) as writer:
            yield _Stream(writer, tell)
        return
    target = Path(os.path.realpath(path))
    in_parts = is_directory(output)
    settings = {**settings, "form of the output": "parts" if in_parts else _suffix(path)}
    table = Parquet(columns) if in_parts else _TABLES[_suffix(path)](columns)
    with saving(output):
        if not in_parts:
            check_replaceable(target)
    with journal(target, settings, resume=resume, name=output) as work:
        yield _Kept(work, table, _Places(output, target, errors_of(path)), _PART_WINDOWS if in_parts else None)


def _suffix(path: Path) -> str:
    return next(suffix for suffix in PREDICTIONS.suffixes if path.name.lower().endswith(suffix))


class _Stream:
    """JSON lines to standard output, a pipe or a device."""

    mark = Mark()

    def __init__(self, writer: Writer, tell: Callable[[Refused], None]) -> None:
        self._writer = writer
        self._tell = tell

    def write(self, records: Sequence[Record], refused: Sequence[Refused], mark: Mark | None) -> None:
        """Write a window, and report skipped rows, immediately."""
        for row in refused:
            self._tell(row)
        for record in records:
            self._writer.row(record)

    def publish(self, mark: Mark) -> None:
        """Do nothing: what was written is there."""


@dataclass(frozen=True, slots=True)
class _Places:
    """The output's name, its file or directory, and the file of skipped rows."""

    name: str
    target: Path
    errors: Path


class _Kept:
    """A file, or parts of a number of windows each, that grow in a journal's directory."""

    def __init__(self, work: Journal, table: Table, places: _Places, part_windows: int | None) -> None:
        self._work = work
        self._table = table
        self._places = places
        self._part_windows = part_windows
        begun = work.mark.num_read > 0 and not work.mark.is_last
        self._head = (work.directory / "head").read_bytes() if begun else None
        self._roll_if_full()

    @property
    def mark(self) -> Mark:
        """The progress so far."""
        return self._work.mark

    def write(self, records: Sequence[Record], refused: Sequence[Refused], mark: Mark | None) -> None:
        """Append a window, and log it if another run may resume after it."""
        self._begin(records)
        for row in refused:
            self._work.append("errors", json_line(row.record()))
        if records:
            for content in self._table.rows(records, self._head or b""):
                self._work.append("rows", content)
        if mark is not None:
            before = self._work.mark
            counted = replace(mark, num_parts=before.num_parts, num_windows=before.num_windows + 1)
            self._work.log(replace(counted, sizes=self._work.sizes()))
            self._roll_if_full()

    def publish(self, mark: Mark) -> None:
        """Move the finished output, and the list of skipped rows, to their final places."""
        with saving(self._places.name):
            if not self.mark.is_last:
                self._end(mark)
            self._move()

    def _end(self, mark: Mark) -> None:
        """Complete what will be moved, and log that from here on it may have been."""
        self._begin([])
        num_parts, sizes = self.mark.num_parts, self._work.sizes()
        if self._part_windows is not None and (sizes["rows"] > len(self._head or b"") or not num_parts):
            self._make_part(num_parts)
            num_parts += 1
        self._work.log(replace(mark, num_parts=num_parts, num_windows=0, sizes=sizes, is_last=True))
        self._work.close()

    def _move(self) -> None:
        directory, places, mark = self._work.directory, self._places, self.mark
        if "errors" in (mark.sizes or {}):
            _place(directory / "errors", places.errors)
        elif places.errors.exists():  # of an older run
            places.errors.unlink()
        if self._part_windows is None:
            rows = directory / "rows"
            _place(self._table.finish(rows) if rows.exists() else rows, places.target)
            return
        places.target.mkdir(exist_ok=True)
        parts = {self._work.part(number) for number in range(mark.num_parts)}
        for part in sorted(parts):
            _place(part, places.target / part.name)
        for older in {path.name for path in places.target.glob(PART)} - {part.name for part in parts}:
            (places.target / older).unlink()

    def _begin(self, records: Sequence[Record]) -> None:
        if self._head is None:
            self._head = self._table.head(records)
            self._work.append("head", self._head)
            self._work.append("rows", self._head)

    def _roll_if_full(self) -> None:
        """Turn the windows into a part; they are removed only once the log has recorded the part."""
        mark = self._work.mark
        if self._part_windows is None or mark.num_windows < self._part_windows:
            return
        self._make_part(mark.num_parts)
        size = len(self._head or b"")
        begun = replace(mark, num_parts=mark.num_parts + 1, num_windows=0, sizes={**self._work.sizes(), "rows": size})
        self._work.log(begun)
        self._work.cut("rows", size)

    def _make_part(self, number: int) -> None:
        self._work.close("rows")
        part = self._work.part(number)
        part.parent.mkdir(exist_ok=True)
        os.replace(self._table.finish(self._work.directory / "rows"), part)


def _place(file: Path, target: Path) -> None:
    """Move a file to its final place, unless an interrupted run did so.

    Raises:
        ConfigError: That run did, and the file is gone.
    """
    if file.exists():
        try:
            replace_file(file, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            replace_file(_copied_beside(target, file), target)
    elif not target.exists():
        raise ConfigError(f"{target}: the interrupted run wrote it, and it is gone; start over without `resume`")


def _copied_beside(target: Path, file: Path) -> Path:
    """A copy on the target's disk, as the list of skipped rows may be on another disk than the output that it is of."""
    sweep(target, target.parent)
    copy = temporary(target, target.parent)
    shutil.copyfile(file, copy)
    return copy
