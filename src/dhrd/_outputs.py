"""Checks of outputs: never a file that the same command reads, by any name, and never with another format's ending."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dhrd._files import STANDARD, is_stream, saving
from dhrd.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Format:
    """What an output holds, and the endings that its name may have; pipes and `-` have none."""

    name: str
    suffixes: tuple[str, ...]

    def names(self, path: Path) -> bool:
        """Whether a path's name ends as this format's may."""
        name = path.name.lower()
        return any(name.endswith(suffix) if suffix else not path.suffix for suffix in self.suffixes)


JSON_LINES = Format("JSON lines", (".jsonl", ""))
RATIONALES = Format("rationales in JSON lines", (".jsonl",))
JSON = Format("JSON", (".json", ""))
YAML = Format("YAML", (".yaml", ".yml"))
PAGE = Format("a page", (".html", ".htm"))
FIGURE = Format("a figure", (".svg", ".png"))


@dataclass(frozen=True, slots=True)
class Output:
    """A file to be written.

    Args:
        option: The option that requested it, for messages.
        path: Its path; None: not requested.
        format: Its format; None: according to its name.
    """

    option: str
    path: Path | None
    format: Format | None = None


def check_outputs(outputs: Iterable[Output], inputs: Iterable[str | Path]) -> None:
    """Refuse what cannot or must not be written, before anything is opened or computed.

    Args:
        outputs: All files that a command writes.
        inputs: All files that it reads; for a directory, every file in it.

    Raises:
        ConfigError: An output is an input or another output, by any name or link; or its name has the ending of
            another format; or it is a directory.
        SaveError: The directory to write it in does not exist.
    """
    taken = {identity: f"an input ({path})" for path in inputs for identity in _identities(path)}
    for output in outputs:
        path = output.path
        if path is None:
            continue
        with saving(str(path)):
            _check_name(output.option, path, output.format)
            identity = _identity(path)
            if not is_stream(path):
                os.stat(os.path.dirname(os.path.realpath(path)))
        ours = f"what {output.option} writes"  # of a directory, several files
        if taken.get(identity, ours) != ours:
            raise ConfigError(f"{output.option} {path}: would overwrite {taken[identity]}; give another name")
        if identity is not None:
            taken[identity] = ours


def check_can_take_place(option: str, directory: Path) -> None:
    """Refuse a directory whose place one beside it cannot take, before there is anything to lose.

    Raises:
        ConfigError: It is a mount point, or a link to another disk.
    """
    place = os.path.realpath(directory)
    if os.path.ismount(place):
        raise ConfigError(f"{option} {directory}: is a mount point, which cannot be replaced; give a directory in it")
    if os.path.islink(directory) and _disk(Path(place)) != _disk(directory.absolute()):
        raise ConfigError(f"{option} {directory}: is a link to another disk; give {place} itself")


def _disk(place: Path) -> int:
    """The device of the directory that a path is in, or will be."""
    return next(above for above in place.parents if above.exists()).stat().st_dev


def _check_name(option: str, path: Path, form: Format | None) -> None:
    if os.path.isdir(path):
        raise ConfigError(f"{option} {path}: is a directory; give the name of a file")
    if form is not None and not form.names(path) and not is_stream(path):
        endings = " or ".join(suffix for suffix in form.suffixes if suffix)
        raise ConfigError(f"{option} {path}: the output is {form.name}; give a name that ends in {endings}")


def _identities(path: str | Path) -> Iterator[object]:
    """What identifies the files of an input."""
    try:
        files = [file for file in Path(path).rglob("*") if not file.is_dir()] if os.path.isdir(path) else [path]
    except (OSError, ValueError):  # its reader will say what is wrong with it
        return
    for file in files:
        with suppress(OSError, ValueError):  # a link to itself, say: the files beside it are read all the same
            if (identity := _identity(file, standard=0)) is not None:
                yield identity


def _identity(path: str | Path, standard: int = 1) -> object:
    """Device and inode of a file, or its resolved path if it does not exist; None for devices and pipes.

    Args:
        path: The file.
        standard: The descriptor that `-` stands for.
    """
    is_standard = str(path) == STANDARD
    try:
        status = os.fstat(standard) if is_standard else os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return os.path.realpath(path)
    if stat.S_ISREG(status.st_mode):
        return status.st_dev, status.st_ino
    return STANDARD if is_standard and standard == 1 else None
