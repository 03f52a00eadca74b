"""Writing files: whole or not at all, with every failure as one clear line.

A command writes beside its target under a temporary name, and replaces the target once the file is whole.
Whatever ends the command removes it; what a SIGKILL leaves is removed when the same target is written again.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError

from dhrd._json import json_line
from dhrd._temporary import is_temporary, lock, sweep, temporary
from dhrd._text import message_of
from dhrd.errors import ConfigError, DhrdError, SaveError

RESUME = "run again (training goes on with `checkpoint`)"
LOCK = ".lock"
"""The file by which one process at a time holds a directory."""

STANDARD = "-"
"""The path that stands for standard output."""


@contextmanager
def saving(what: str, then: str = "run again") -> Iterator[None]:
    """Turn a failed write into one clear line.

    Args:
        what: What was to be saved.
        then: What to do once there is space.

    Raises:
        SaveError: The disk is full, or the place not writable.
        ConfigError: The system refuses the name.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has what it wanted: not a failure
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or message_of(error)
        if refuses_name(error):
            raise ConfigError(f"{what}: {reason}; give another name") from error
        raise SaveError(
            f"{what} could not be saved ({reason}); what was saved before is intact: make room or correct the path, "
            f"and {then}"
        ) from error


def refuses_name(error: BaseException) -> bool:
    """Whether the system says that no file can have this name, rather than that something is wrong with a file."""
    return isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP)


class Writer:
    """An open output. A failure to write it is a `SaveError`; other failures around it are unchanged."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name

    def write(self, content: str | bytes) -> None:
        """Write text as UTF-8, or bytes; a lone surrogate becomes its escape in JSON."""
        with saving(self._name):
            self._file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)

    def row(self, value: Any) -> None:
        """Write one line of JSON; a date or a decimal as its text."""
        self.write(json_line(value))

    def json(self, value: Any) -> None:
        """Write JSON for people to read."""
        self.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """A file to write, which replaces the path, or the target of a link, only when it is whole.

    The previous state is kept until then, and permanently if the block ends with an error. `-`, a device or a pipe is
    written to directly.

    Raises:
        SaveError: The disk is full, or the place not writable.
    """
    if is_stream(path):
        with _stream(path) as writer:
            yield writer
        return
    target, file = Path(os.path.realpath(path)), None
    partial = temporary(target, target.parent)
    try:
        with saving(str(path)):
            sweep(target, target.parent)
            file = _create(partial, target)
        yield Writer(file, str(path))
        with saving(str(path)):
            file.flush()
            os.replace(partial, target)
    except (DhrdError, KeyboardInterrupt) as error:
        if file is None or partial.exists():  # else it was in place before the signal came
            error.add_note(f"nothing was written to {path}")
        raise
    finally:
        with suppress(OSError):
            partial.unlink()
        with suppress(OSError):  # the lock goes with it
            if file is not None:
                file.close()


def check_replaceable(target: Path) -> None:
    """Refuse to replace a file that is not writable.

    Raises:
        PermissionError: The file exists and is not writable.
    """
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def replace_file(whole: Path, target: Path) -> None:
    """Replace a file by another one, which gets its mode."""
    if target.exists():
        os.chmod(whole, stat.S_IMODE(target.stat().st_mode))
    os.replace(whole, target)


def _create(partial: Path, target: Path) -> BinaryIO:
    """A new locked file with the mode of the file that it will replace, else the umask's."""
    check_replaceable(target)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    while not lock(descriptor, partial):  # someone took it for a dead process's
        os.close(descriptor)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT, 0o666)
    if target.exists():
        os.fchmod(descriptor, stat.S_IMODE(target.stat().st_mode))
    return os.fdopen(descriptor, "wb")


@contextmanager
def _stream(path: Path) -> Iterator[Writer]:
    if is_stdout(path):
        sys.stdout.flush()
        file, name = sys.stdout.buffer, "standard output"
    else:
        with saving(str(path)):
            file, name = path.open("ab"), str(path)  # appending: nothing that a descriptor's file holds is cut off
    try:
        yield Writer(file, name)
        with saving(name):
            file.flush()
    finally:
        if not is_stdout(path):
            with suppress(OSError):
                file.close()


def is_stream(path: Path) -> bool:
    """Whether a path is written to directly: standard output, a device, a pipe, an open descriptor."""
    if is_stdout(path) or str(path).startswith(("/dev/fd/", "/proc/")):
        return True
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def is_stdout(path: Path | None) -> bool:
    """Whether a path is standard output, by any of its names."""
    if path is None or str(path) == STANDARD:
        return path is not None
    with suppress(OSError, ValueError):
        return os.path.samestat(os.stat(path), os.fstat(1))
    return False


@contextmanager
def talking(*outputs: Path | None) -> Iterator[None]:
    """A context for a command's messages: they go to stderr if one of its outputs is standard output."""
    with redirect_stdout(sys.stderr) if any(map(is_stdout, outputs)) else nullcontext():
        yield


@contextmanager
def writing_directory(directory: Path, *, last: str, stale: Iterable[str] = ()) -> Iterator[Path]:
    """A directory to fill; its files are moved to `directory` once all are whole.

    Args:
        directory: The target, created if missing; other files in it are kept.
        last: The file that marks it as whole: removed before the first file is replaced, moved after all others.
        stale: Names (with wildcards) of files to remove if no new file has that name.

    Yields:
        An empty directory on the same disk. Modes of what is put there are set by the umask.
    """
    target = Path(os.path.realpath(directory))
    partial = temporary(target, target if target.is_dir() else target.parent)
    sweep(target, partial.parent)
    partial.mkdir(parents=True)
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        lock(descriptor, partial)
        try:
            yield partial
            set_modes(partial)
            sync(partial)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        files = [path.relative_to(partial) for path in sorted(partial.rglob("*")) if not path.is_dir()]
        files.sort(key=lambda path: path == Path(last))
        try:
            _publish(partial, target, files, stale)
        except KeyboardInterrupt:  # renaming takes no time, and half of it is useless
            _publish(partial, target, files, stale)
            raise
    finally:
        os.close(descriptor)


def _publish(partial: Path, target: Path, files: list[Path], stale: Iterable[str]) -> None:
    """Move the files that were not moved before, the last one last."""
    if not target.exists():
        os.replace(partial, target)
    elif (partial / files[-1]).exists():
        (target / files[-1]).unlink(missing_ok=True)
        for path in [path for name in stale for path in target.glob(name)]:
            if path.relative_to(target) not in files:
                _remove(path)
        for file in files:
            if (partial / file).exists():
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                os.replace(partial / file, target / file)
    shutil.rmtree(partial, ignore_errors=True)


def _remove(path: Path) -> None:
    path.unlink()
    with suppress(OSError):  # there is something else beside it
        path.parent.rmdir()


def replace_directory(whole: Path, target: Path) -> None:
    """Move a directory to an empty or missing one in one step; it gets the mode of the latter.

    Raises:
        ConfigError: The target is not empty, or another process is writing there.
    """
    place = Path(os.path.realpath(target))
    if not holds_nothing(place):
        raise ConfigError(f"{target}: is no longer empty; move it away, and run again")
    with locked(place):
        pass  # no other process is writing there
    if place.exists():
        os.chmod(whole, stat.S_IMODE(place.stat().st_mode))
        for left in place.iterdir():  # not the place itself: if it cannot be taken, it is still there
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    os.replace(whole, place)


def set_modes(directory: Path) -> None:
    """Give files the mode that the umask asks for: safetensors makes its own readable by their owner alone."""
    mask = os.umask(0o077)  # reading it requires setting it; meanwhile to a harmless value
    os.umask(mask)
    for path in [directory, *directory.rglob("*")]:
        if path.is_file() and not path.is_symlink():
            path.chmod(0o666 & ~mask)


def sync(directory: Path) -> None:
    """Wait until a directory and all in it are on the disk."""
    for path in [*directory.rglob("*"), directory]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Lock a directory, created if missing, against other processes; a killed process releases it.

    Raises:
        ConfigError: Another process holds it.
        SaveError: It cannot be created or written.
    """
    path, made = directory / LOCK, not os.path.exists(directory)
    if not made and not os.path.isdir(directory):
        raise ConfigError(f"{directory}: is not a directory, but one is to be written; give another name")
    with saving(str(directory), RESUME):
        Path(os.path.realpath(directory)).mkdir(parents=True, exist_ok=True)  # a link may lead to none yet
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not lock(descriptor, path):
            raise ConfigError(f"{directory}: another process is writing there; wait for it, or give another directory")
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()
            if made:
                with suppress(OSError):  # there is something in it
                    directory.rmdir()
    finally:
        os.close(descriptor)


def holds_nothing(directory: Path) -> bool:
    """Whether a directory is missing, or has nothing in it except leftovers of a killed process of this library."""
    if not os.path.isdir(directory):
        return not os.path.lexists(directory)
    return all(
        path.name == LOCK or is_temporary(path) or (path.is_dir() and not path.is_symlink() and holds_nothing(path))
        for path in directory.iterdir()
    )


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people to read, into a directory that is moved into place when it is whole."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def expanded(value: Any) -> Any:
    """A path, or text that is one, with `~` as the home directory; anything else unchanged."""
    if isinstance(value, Path) and str(value).startswith("~"):
        return Path(os.path.expanduser(value))
    return os.path.expanduser(value) if isinstance(value, str) and value.startswith("~/") else value
