"""Where predictions go: a stream, a file, or a directory of parts; the last two survive what ends the run."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from dhrd._files import Writer, check_replaceable, is_stream, json_line, replace_file, saving, writing
from dhrd._outputs import JSON_LINES, Format, Output
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
"""The names of parts."""
_NUMBER = re.compile(r"(\d+)$")


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that was left out: its place, and why."""

    where: str
    reason: str

    def record(self) -> Record:
        """As it is written: `where`, the number of its line or row, `reason`."""
        number = _NUMBER.search(self.where)
        return {"where": self.where, "line": int(number[1]) if number else None, "reason": self.reason}


class RowSink(Protocol):
    """What takes predictions, window by window."""

    @property
    def mark(self) -> Mark:
        """How far it has come."""

    def write(self, records: Sequence[Record], refused: Sequence[Refused], mark: Mark | None) -> None:
        """Take a window; with a mark, it is one that another run may go on after."""


class Sink(RowSink, Protocol):
    """What becomes an output."""

    def publish(self, mark: Mark) -> None:
        """Let all that was taken be there; the mark counts it."""


def is_directory(output: str) -> bool:
    """Whether an output is a directory of parts: one that is there, or whose name ends in a slash."""
    return output.endswith("/") or (os.path.isdir(output) and not is_stream(Path(output)))


def errors_of(path: Path) -> Path:
    """The file beside an output that names the rows that were left out; a directory such as `.` has a name elsewhere.

    Raises:
        ConfigError: It is the root of all, which nothing is beside.
    """
    named = path if path.name not in ("", "..") else Path(os.path.realpath(path))
    if not named.name:
        raise ConfigError(f"{path}: is no place for predictions; give the name of a file, or of a directory")
    return named.with_name(named.name + ERRORS)


def outputs_of(option: str, output: str) -> Iterator[Output]:
    """The files that an output may become or replace, for `check_outputs`.

    Raises:
        ConfigError: It is a directory with other files than parts.
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
        if not (file.name.startswith(".") and file.is_dir()):  # what a job on a cluster left
            yield Output(option, file)


def check_part(directory: object, name: str) -> None:
    """Refuse a directory for parts that holds another file; what a job left in it is hidden.

    Raises:
        ConfigError: The name is neither a part's nor a hidden one's.
    """
    if not Path(name).match(PART) and not name.startswith("."):
        raise ConfigError(f"{directory}: holds other files than parts of predictions ({name}); give another name")


@contextmanager
def open_sink(
    output: str, columns: Columns, settings: Mapping[str, str], *, resume: bool, tell: Callable[[Refused], None]
) -> Iterator[Sink]:
    """Open what an output names; it is there once it was published.

    Args:
        output: A path; its suffix says the form.
        columns: What a prediction holds.
        settings: What must be the same for a run to go on.
        resume: Go on with what a stopped run left.
        tell: Told the rows that were left out, of a stream, which has no file for them.

    Raises:
        ConfigError: What was left was made by other settings.
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
        """Write and tell at once."""
        for row in refused:
            self._tell(row)
        for record in records:
            self._writer.row(record)

    def publish(self, mark: Mark) -> None:
        """It is there."""


@dataclass(frozen=True, slots=True)
class _Places:
    """Where an output goes: its name, the file or directory, and the file of the rows that were left out."""

    name: str
    target: Path
    errors: Path


class _Kept:
    """A file, or parts of so many windows, that grow in a journal's directory."""

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
        """How far it has come."""
        return self._work.mark

    def write(self, records: Sequence[Record], refused: Sequence[Refused], mark: Mark | None) -> None:
        """Append a window, and log it where another run may go on after it."""
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
        """Let what was made take its place, and the rows that were left out theirs, as far as they have not yet."""
        with saving(self._places.name):
            if not self.mark.is_last:
                self._end(mark)
            self._move()

    def _end(self, mark: Mark) -> None:
        """Complete what is to be moved, and log that it will be."""
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
        else:
            places.errors.unlink(missing_ok=True)  # of an older run
        if self._part_windows is None:
            rows = directory / "rows"
            _place(self._table.finish(rows) if rows.exists() else rows, places.target)
            return
        places.target.mkdir(exist_ok=True)
        parts = {self._work.part(number) for number in range(mark.num_parts)}
        for older in {path.name for path in places.target.glob(PART)} - {part.name for part in parts}:
            (places.target / older).unlink()
        for part in sorted(parts):
            _place(part, places.target / part.name)

    def _begin(self, records: Sequence[Record]) -> None:
        if self._head is None:
            self._head = self._table.head(records)
            self._work.append("head", self._head)
            self._work.append("rows", self._head)

    def _roll_if_full(self) -> None:
        """Make a part of its windows; what they were is cut off only when the log says that it is there."""
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
    """Let a file take its place, where a run that was stopped has not seen to it.

    Raises:
        ConfigError: That run had, and it is gone.
    """
    if file.exists():
        replace_file(file, target)
    elif not target.exists():
        raise ConfigError(f"{target}: the stopped run wrote it, and it is gone; start anew without `resume`")
