"""Writing files so that a failure is one clear line."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from safetensors import SafetensorError

from dhrd.errors import SaveError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def saving(what: str) -> Iterator[None]:
    """Turn a failed write into one clear line.

    Raises:
        SaveError: The disk is full, or the place not writable.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise SaveError(
            f"{what} could not be saved ({reason}); what was saved before is intact: make room or correct the path, "
            "and run again (training goes on with --checkpoint)"
        ) from error


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """A text file to write, which takes the path's place only when it is whole.

    A device, a pipe or a link (/dev/stdout) is written to as it is: renaming over it would put a file in its place.

    Raises:
        SaveError: The disk is full, or the place not writable; a file that was there is intact.
    """
    partial = path if is_stream(path) else path.with_name(path.name + ".partial")
    with saving(str(path)):
        with partial.open("w", encoding="utf-8") as file:
            yield file
        if partial != path:
            os.replace(partial, path)


def is_stream(path: Path) -> bool:
    """Whether a path is something other than a plain file."""
    return path.is_symlink() or (path.exists() and not path.is_file())


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people to read."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
