"""Temporary files beside a target, each locked while its writer lives, so that leftovers of a kill are recognised."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_END = r"\d+-[0-9a-f]{8}\.partial"
_TEMPORARY = re.compile(rf"\..*\.{_END}")
_NAME_SHOWN = 50  # characters of the target's name in a temporary one: a name may have 255 bytes


def temporary(target: Path, directory: Path) -> Path:
    """A unique name in a directory for what will replace a target."""
    return directory / f"{_start(target)}{os.getpid()}-{secrets.token_hex(4)}.partial"


def _start(target: Path) -> str:
    """The prefix of the temporary names of this target alone: one target's name may be a prefix of another's."""
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]
    return f".{target.name[:_NAME_SHOWN]}.{digest}."


def _left(target: Path, directory: Path) -> list[Path]:
    """The paths in a directory that have a temporary name of this target."""
    start = _start(target)
    found = directory.glob(f"{glob.escape(start)}*")
    return sorted(path for path in found if re.fullmatch(_END, path.name.removeprefix(start)))


def is_temporary(path: Path) -> bool:
    """Whether this is a name that `temporary` gave."""
    return _TEMPORARY.fullmatch(path.name) is not None


def sweep(target: Path, directory: Path) -> bool:
    """Remove what killed processes left of a target in a directory, and tell whether there was anything."""
    left = _left(target, directory)
    for path in left:
        with suppress(OSError):  # its writer lives, or the disk has no locks, so that it is unknown
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(descriptor)
    return bool(left)


def remove_directory(directory: Path) -> None:
    """Remove a directory so that a kill leaves all of it under its name, or nothing."""
    sweep(directory, directory.parent)
    gone = temporary(directory, directory.parent)
    os.replace(directory, gone)
    shutil.rmtree(gone, ignore_errors=True)


def abandoned(target: Path, directory: Path) -> Iterator[tuple[Path, int]]:
    """The directories that dead processes left of a target, each with a descriptor that locks it."""
    for path in _left(target, directory):
        if not path.is_dir():
            continue
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:  # its writer was at its end, or it is not ours
            continue
        if lock(descriptor, path):
            yield path, descriptor
        else:
            os.close(descriptor)


def lock(descriptor: int, path: Path) -> bool:
    """Lock an open file until it is closed or its process ends.

    Args:
        descriptor: Descriptor of the file.
        path: The path that it was opened by.

    Returns:
        False if another process holds it, or has removed it since. Disks without locks grant them to all.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
