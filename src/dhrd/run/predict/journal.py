"""Work that outlives its process: what was written is known to the byte, so that another run can go on from there.

It lies in a temporary directory beside the target, which is locked as long as its writer lives and goes when the target
is written anew. Windows of rows are appended to it, and after each a line that says how far they reach; whatever a kill
leaves after the last whole line is cut off. Before the files are moved to the target, the last line says so: those that
are missing then have their places already, and another run moves the rest.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from dhrd._files import Writer, saving
from dhrd._temporary import abandoned, lock, sweep, temporary
from dhrd.errors import ConfigError, SaveError

_LOG = "log"
_PARTS = "parts"


@dataclass(frozen=True, slots=True, kw_only=True)
class LongJob:
    """How a long job runs.

    Args:
        keep: Columns of the input that are carried along.
        resume: Go on after what a stopped run of the same model, rows and settings left beside the output.
        on_error: At a bad row `stop`; or `skip` it: its place and what is wrong go to OUTPUT.errors.jsonl.

    Raises:
        ConfigError: `on_error` is neither.
    """

    keep: tuple[str, ...] = ()
    resume: bool = False
    on_error: Literal["stop", "skip"] = "stop"

    def __post_init__(self) -> None:
        if self.on_error not in ("stop", "skip"):
            raise ConfigError(f"`on_error={self.on_error}`: unknown; give stop or skip")


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the work has come.

    Args:
        num_read: Rows of the input that were read, the refused ones among them.
        num_written: Rows that were predicted.
        num_abstained: Those of them that were not answered.
        num_refused: Bad rows that were left out.
        num_cut: Inputs that were shortened.
        num_mended: Inputs that ended in the padding token and got a newline.
        digest: Of all rows that were read, in order.
        num_parts: Whole files of a directory.
        num_windows: In the part that grows.
        sizes: Bytes of the files that grow, by name.
        is_last: All is done, and the files are on their way to their places.
    """

    num_read: int = 0
    num_written: int = 0
    num_abstained: int = 0
    num_refused: int = 0
    num_cut: int = 0
    num_mended: int = 0
    digest: str = ""
    num_parts: int = 0
    num_windows: int = 0
    sizes: Mapping[str, int] | None = None
    is_last: bool = False


class Journal:
    """The files that grow in a directory, and the log of how far.

    Args:
        directory: Of its own.
        mark: Where the files end.
        name: What is written in the end, for messages.
    """

    def __init__(self, directory: Path, mark: Mark, name: str) -> None:
        self.directory = directory
        self.mark = mark
        self._name = name
        self._files: dict[str, BinaryIO] = {}

    def append(self, name: str, content: bytes) -> None:
        """Write to the end of a file.

        Raises:
            SaveError: The disk is full.
        """
        if name not in self._files:
            self._files[name] = (self.directory / name).open("ab")
        Writer(self._files[name], self._name).write(content)

    def sizes(self) -> dict[str, int]:
        """Bytes of the files that grow, with what was appended to them."""
        return {**(self.mark.sizes or {}), **{name: file.tell() for name, file in self._files.items() if name != _LOG}}

    def cut(self, name: str, size: int) -> None:
        """Take off what a file has after so many bytes.

        Raises:
            ConfigError: It has fewer.
        """
        self.close(name)
        path = self.directory / name
        if not path.is_file() or path.stat().st_size < size:
            raise self._damaged(name)
        os.truncate(path, size)

    def part(self, number: int) -> Path:
        """A whole file of a directory."""
        return self.directory / _PARTS / f"part-{number:05d}.parquet"

    def go_to_mark(self) -> None:
        """Cut off what came after the mark.

        Raises:
            ConfigError: Something that was whole then is missing.
        """
        sizes = self.mark.sizes or {}
        for name, size in sizes.items():
            if not self.mark.is_last or (self.directory / name).exists():
                self.cut(name, size)
        for path in self.directory.iterdir():
            if path.is_file() and path.name not in (*sizes, _LOG):  # begun after the mark
                path.unlink()
        log = self.directory / _LOG
        self.cut(_LOG, log.read_bytes().rindex(b"\n") + 1)
        for part in map(self.part, range(0 if self.mark.is_last else self.mark.num_parts)):
            if not part.is_file():
                raise self._damaged(part.name)

    def _damaged(self, what: str) -> ConfigError:
        return ConfigError(
            f"{self._name}: cannot be gone on with, since what the stopped run kept in {self.directory} is damaged "
            f"({what} is missing or too short); start anew without `resume`"
        )

    def log(self, mark: Mark) -> None:
        """Say that all is whole up to here; only then is it what another run goes on from.

        Raises:
            SaveError: The disk is full.
        """
        with saving(self._name):
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
            self.append(_LOG, (json.dumps(asdict(mark)) + "\n").encode())
            self._files[_LOG].flush()
        self.mark = mark

    def close(self, *names: str) -> None:
        """Write out what was appended to these files; to all without names.

        Raises:
            SaveError: The disk is full.
        """
        with saving(self._name):
            for name in names or list(self._files):
                if (file := self._files.pop(name, None)) is not None:
                    file.close()


@contextmanager
def journal(target: Path, settings: Mapping[str, str], *, resume: bool, name: str) -> Iterator[Journal]:
    """The journal of a target; removed with its directory but where an error ends the block and there is work to keep.

    Args:
        target: What is to be written.
        settings: What must be the same for a run to go on.
        resume: Go on with what another run left; else that is removed.
        name: The target's, for messages.

    Raises:
        ConfigError: What was left was made by other settings.
        SaveError: The disk is full, or the place not writable.
    """
    with saving(name):
        found = _left(target, settings, name) if resume else None
        if found is None:
            sweep(target, target.parent)
            found = _new(target, settings, name)
    work, descriptor = found
    try:
        yield work
        work.close()
    except BaseException as error:
        with suppress(SaveError):
            work.close()
        if work.mark.is_last:
            num_rows = work.mark.num_written
            error.add_note(f"{name} was being put in its place, with all {num_rows} rows: `resume` finishes that")
            raise
        error.add_note(f"nothing was written to {name}")
        if work.mark.num_read:
            error.add_note(f"{work.mark.num_written} rows are kept beside it: `resume` goes on after them")
        else:
            shutil.rmtree(work.directory, ignore_errors=True)
        raise
    else:
        shutil.rmtree(work.directory, ignore_errors=True)
    finally:
        os.close(descriptor)


def _new(target: Path, settings: Mapping[str, str], name: str) -> tuple[Journal, int]:
    directory = temporary(target, target.parent)
    directory.mkdir()
    descriptor = os.open(directory, os.O_RDONLY)
    lock(descriptor, directory)
    work = Journal(directory, Mark(), name)
    work.append(_LOG, (json.dumps(settings) + "\n").encode())
    return work, descriptor


def _left(target: Path, settings: Mapping[str, str], name: str) -> tuple[Journal, int] | None:
    """What a run left that came furthest, cut to its last mark."""
    with ExitStack() as others:
        best: tuple[int, Path, int] = (0, target, -1)
        for directory, descriptor in abandoned(target, target.parent):
            others.callback(os.close, descriptor)
            best = max(best, (_read(directory / _LOG)[1].num_read, directory, descriptor))
        num_read, directory, descriptor = best
        if not num_read:
            return None
        theirs, mark = _read(directory / _LOG)
        check_same_run(name, theirs, settings)
        work = Journal(directory, mark, name)
        work.go_to_mark()
        return work, os.dup(descriptor)  # the lock lives on in the copy


def check_same_run(name: str, theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
    """Refuse to go on with what other settings made.

    Raises:
        ConfigError: Saying what is another.
    """
    if odd := [key for key in ours if theirs.get(key) != ours[key]]:
        raise ConfigError(
            f"{name}: cannot be gone on with, since the run that was stopped had another {' and another '.join(odd)}; "
            "give what that run was given, or start anew without `resume`"
        )


def _read(path: Path) -> tuple[dict[str, str], Mark]:
    """Settings and last mark of a log; a line that was not wholly written is none."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        return json.loads(lines[0]), Mark(**json.loads(lines[-1])) if len(lines) > 1 else Mark()
    except (OSError, ValueError, IndexError, TypeError):
        return {}, Mark()
