"""A journal of partial output, exact to the byte, from which another process can resume.

It is a temporary directory beside the target, or inside one that is a directory already, which may be a disk of its
own; it is locked while its writer lives and removed when the target is written again. Windows of rows are appended to
its files, and after each window a line to its log says how far they reach; whatever follows the last complete line
after a kill is cut off. Before the files are moved to the target, the log says so: those that are missing then were
moved already, and another run moves the rest.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Literal

from dhrd._files import Writer, saving
from dhrd._temporary import abandoned, lock, sweep, temporary
from dhrd.errors import ConfigError, SaveError

_LOG = "log"
_PARTS = "parts"


@dataclass(frozen=True, slots=True, kw_only=True)
class LongJob:
    """Options of a long job.

    Args:
        keep: Input columns to copy to the output.
        resume: Continue from what an interrupted run with the same model, rows and settings left.
        on_error: On a bad row, `stop`, or `skip` it and list it in OUTPUT.errors.jsonl.

    Raises:
        ConfigError: `on_error` is neither of these.
    """

    keep: tuple[str, ...] = ()
    resume: bool = False
    on_error: Literal["stop", "skip"] = "stop"

    def __post_init__(self) -> None:
        if self.on_error not in ("stop", "skip"):
            raise ConfigError(f"`on_error={self.on_error}`: unknown; give stop or skip")


@dataclass(frozen=True, slots=True)
class Mark:
    """The progress of a job.

    Args:
        num_read: Input rows read, including skipped ones.
        num_written: Rows predicted.
        num_abstained: Predicted rows on which the decision abstained.
        num_refused: Bad rows that were skipped.
        num_cut: Inputs that were truncated.
        num_mended: Inputs that ended in the padding token and got a newline appended.
        digest: Digest of all rows read, in order.
        num_parts: Complete part files.
        num_windows: Windows in the current part.
        sizes: Sizes in bytes of the growing files, by name.
        is_last: All rows are done, and the files are being moved to their final places.
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
    """The growing files in a directory, and the log of their progress.

    Args:
        directory: The journal's own directory.
        mark: The progress so far.
        name: Name of the final output, for messages.
    """

    def __init__(self, directory: Path, mark: Mark, name: str) -> None:
        self.directory = directory
        self.mark = mark
        self._name = name
        self._files: dict[str, BinaryIO] = {}

    def append(self, name: str, content: bytes) -> None:
        """Append to a file.

        Raises:
            SaveError: The disk is full.
        """
        if name not in self._files:
            self._files[name] = (self.directory / name).open("ab")
        Writer(self._files[name], self._name).write(content)

    def sizes(self) -> dict[str, int]:
        """Sizes of the growing files in bytes, including buffered content."""
        return {**(self.mark.sizes or {}), **{name: file.tell() for name, file in self._files.items() if name != _LOG}}

    def cut(self, name: str, size: int) -> None:
        """Truncate a file to a size in bytes.

        Raises:
            ConfigError: It is shorter, or missing.
        """
        self.close(name)
        path = self.directory / name
        if not path.is_file() or path.stat().st_size < size:
            raise self._damaged(name)
        os.truncate(path, size)

    def part(self, number: int) -> Path:
        """The path of a complete part file."""
        return self.directory / _PARTS / f"part-{number:05d}.parquet"

    def go_to_mark(self) -> None:
        """Remove everything that was written after the mark.

        Raises:
            ConfigError: A file that the mark counts is missing or too short.
        """
        sizes = self.mark.sizes or {}
        for name, size in sizes.items():
            if not self.mark.is_last or (self.directory / name).exists():
                self.cut(name, size)
        for path in self.directory.iterdir():
            if path.is_file() and path.name not in (*sizes, _LOG):  # started after the mark
                path.unlink()
        log = self.directory / _LOG
        self.cut(_LOG, log.read_bytes().rindex(b"\n") + 1)
        for part in map(self.part, range(0 if self.mark.is_last else self.mark.num_parts)):
            if not part.is_file():
                raise self._damaged(part.name)

    def _damaged(self, what: str) -> ConfigError:
        return ConfigError(
            f"{self._name}: cannot resume, because what the interrupted run kept in {self.directory} is damaged "
            f"({what} is missing or too short); start over without `resume`"
        )

    def log(self, mark: Mark) -> None:
        """Record that everything up to a mark is complete; another run resumes from the last recorded mark.

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
        """Flush and close these files, or all if no names are given.

        Raises:
            SaveError: The disk is full.
        """
        with saving(self._name):
            for name in names or list(self._files):
                if (file := self._files.pop(name, None)) is not None:
                    file.close()


@contextmanager
def journal(target: Path, settings: Mapping[str, str], *, resume: bool, name: str) -> Iterator[Journal]:
    """Open the journal of a target. It is removed on exit, unless an error ends the block and there is work to keep.

    Args:
        target: The file or directory to write.
        settings: What must be the same for another run to resume.
        resume: Continue with what another run left; else remove that.
        name: The target's name, for messages.

    Raises:
        ConfigError: The work left was made with other settings.
        SaveError: The disk is full, or the place not writable.
    """
    with saving(name):
        found = _left(target, settings, name) if resume else None
        if found is None:
            for place in _places(target):
                sweep(target, place)
            found = _new(target, settings, name)
    work, descriptor = found
    try:
        yield work
        work.close()
    except BaseException as error:
        with suppress(SaveError):
            work.close()
        if work.mark.is_last:
            error.add_note(
                f"all {work.mark.num_written} rows are predicted, but {name} may be incomplete; "
                "complete it with `resume`"
            )
            raise
        error.add_note(f"nothing was written to {name}")
        if work.mark.num_read:
            error.add_note(f"{work.mark.num_written} rows are kept {_where(work, target)} it; continue with `resume`")
        else:
            shutil.rmtree(work.directory, ignore_errors=True)
        raise
    else:
        shutil.rmtree(work.directory, ignore_errors=True)
    finally:
        os.close(descriptor)


def _places(target: Path) -> list[Path]:
    """Where the work on a target may be, first where to begin it: a run before may have made the directory."""
    return [target, target.parent] if target.is_dir() else [target.parent]


def _where(work: Journal, target: Path) -> str:
    return "in" if work.directory.parent == target else "beside"


def _new(target: Path, settings: Mapping[str, str], name: str) -> tuple[Journal, int]:
    directory = temporary(target, _places(target)[0])
    directory.mkdir()
    descriptor = os.open(directory, os.O_RDONLY)
    lock(descriptor, directory)
    work = Journal(directory, Mark(), name)
    work.append(_LOG, (json.dumps(settings) + "\n").encode())
    return work, descriptor


def _left(target: Path, settings: Mapping[str, str], name: str) -> tuple[Journal, int] | None:
    """The work left by the run that got furthest, cut to its last mark."""
    with ExitStack() as others:
        best: tuple[int, Path, int] = (0, target, -1)
        for directory, descriptor in chain.from_iterable(abandoned(target, place) for place in _places(target)):
            others.callback(os.close, descriptor)
            best = max(best, (_read(directory / _LOG)[1].num_read, directory, descriptor))
        num_read, directory, descriptor = best
        if not num_read:
            return None
        theirs, mark = _read(directory / _LOG)
        check_same_run(name, theirs, settings)
        work = Journal(directory, mark, name)
        work.go_to_mark()
        return work, os.dup(descriptor)  # the duplicate keeps the lock


def check_same_run(name: str, theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
    """Refuse to resume work made with other settings.

    Raises:
        ConfigError: Settings differ; the message names them.
    """
    if odd := [key for key in ours if theirs.get(key) != ours[key]]:
        raise ConfigError(
            f"{name}: cannot resume, since the interrupted run had another {' and another '.join(odd)}; "
            "use the same ones, or start over without `resume`"
        )


def _read(path: Path) -> tuple[dict[str, str], Mark]:
    """The settings and the last mark of a log; an incomplete last line is ignored."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        return json.loads(lines[0]), Mark(**json.loads(lines[-1])) if len(lines) > 1 else Mark()
    except (OSError, ValueError, IndexError, TypeError):
        return {}, Mark()
