"""Every error that dhrd raises on purpose.

    DhrdError                 exit code 1
    ├── UserError             exit code 2: what was given cannot work; the message says how to fix it
    │   ├── ConfigError       a setting
    │   ├── DataError         a row, a file, a label set
    │   │   └── ColumnError   a row that lacks a column
    │   ├── ModelError        a backbone, a tokenizer, a family that is not supported
    │   ├── ArtifactError     a directory that is not, or not yet, a classifier
    │   ├── CheckpointError   a checkpoint that does not fit
    │   ├── TeacherError      a teacher's endpoint: key, model name, address, quota
    │   └── MissingExtra      an optional dependency that is not installed
    ├── NonFiniteError        a loss or gradient became NaN or infinite
    └── SaveError             a file could not be written (disk full, no permission)

`DhrdError`s are written for users: what was given, what is allowed, and how to fix it. Violated internal invariants
are `assert`s.
"""

from __future__ import annotations

import re

from dhrd._text import clipped, escaped


class DhrdError(Exception):
    """Base of every error raised on purpose; the command line prints it as one line and exits with `exit_code`.

    The lines of its message are limited in length and contain no control characters, whatever data they quote.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__("\n".join(clipped(line) for line in escaped(message).split("\n")))


class UserError(DhrdError):
    """The user's input is invalid."""

    exit_code = 2


class ConfigError(UserError):
    """A setting is unknown, malformed, or contradicts another."""


class DataError(UserError):
    """A row, a file or a label set is malformed."""


class ColumnError(DataError):
    """A row lacks a column that is read."""


class ModelError(UserError):
    """A backbone or tokenizer cannot be used."""


class ArtifactError(UserError):
    """A directory is not a finished dhrd artifact, or not of the required kind."""


class CheckpointError(UserError):
    """A training checkpoint is missing, damaged, or belongs to another run."""


class TeacherError(UserError):
    """A teacher's endpoint cannot be used; earlier answers are kept."""


class MissingExtra(UserError):
    """An optional dependency is not installed."""


class NonFiniteError(DhrdError):
    """A loss or gradient is NaN or infinite; the weights were not updated with it."""


class SaveError(DhrdError):
    """A file could not be written; what was saved before is intact."""


_OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory")  # the driver, and torch's allocator on the CPU


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a GPU or here. By its name: torch, whose class it is, takes seconds to import."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and bool(_OUT_OF_MEMORY.search(str(error)))
