"""What may be written: never what the same command reads, by whatever name, and never under another kind's name."""

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
    """A file that is to be written.

    Args:
        option: Who asked for it, for messages.
        path: None: nobody did.
        format: What it will hold; None: whatever its name says.
    """

    option: str
    path: Path | None
    format: Format | None = None


def check_outputs(outputs: Iterable[Output], inputs: Iterable[str | Path]) -> None:
    """Refuse what cannot or must not be written, before anything is opened or computed.

    Args:
        outputs: All that a command writes.
        inputs: All that it reads; of a directory, every file in it.

    Raises:
        ConfigError: An output is an input or another output, by whatever name or link; or its name ends as another
            kind of file does; or it is a directory.
        SaveError: There is no directory to write it in.
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


def _check_name(option: str, path: Path, form: Format | None) -> None:
    if os.path.isdir(path):
        raise ConfigError(f"{option} {path}: is a directory; give the name of a file")
    if form is not None and not form.names(path) and not is_stream(path):
        endings = " or ".join(suffix for suffix in form.suffixes if suffix)
        raise ConfigError(f"{option} {path}: the output is {form.name}; give a name that ends in {endings}")


def _identities(path: str | Path) -> Iterator[object]:
    """What tells the files of an input from all others."""
    try:
        files = [file for file in Path(path).rglob("*") if not file.is_dir()] if os.path.isdir(path) else [path]
    except (OSError, ValueError):  # its reader will say what is wrong with it
        return
    for file in files:
        with suppress(OSError, ValueError):  # a link to itself, say: the files beside it are read all the same
            if (identity := _identity(file, standard=0)) is not None:
                yield identity


def _identity(path: str | Path, standard: int = 1) -> object:
    """Device and number of a file, or where its name leads if it is not there; None for devices and pipes.

    Args:
        path: The file.
        standard: Which descriptor `-` is.
    """
    is_standard = str(path) == STANDARD
    try:
        status = os.fstat(standard) if is_standard else os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return os.path.realpath(path)
    if stat.S_ISREG(status.st_mode):
        return status.st_dev, status.st_ino
    return STANDARD if is_standard and standard == 1 else None
