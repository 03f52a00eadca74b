"""Every error that dhrd raises on purpose.

    DhrdError                 exit code 1
    ├── UserError             exit code 2: what was given cannot work; the message says how to mend it
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

`DhrdError`s speak to users: what was given, what is allowed, how to mend it. Broken invariants of our own are
`assert`s.
"""

from __future__ import annotations

from dhrd._text import clipped, escaped


class DhrdError(Exception):
    """Base of every error raised on purpose; the command line prints it as one line and exits with `exit_code`.

    Whatever data the message quotes, its lines are bounded and hold no control characters.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__("\n".join(clipped(line) for line in escaped(message).split("\n")))


class UserError(DhrdError):
    """What the user gave cannot work."""

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
    """A directory is not a finished dhrd artifact, or not of the kind asked for."""


class CheckpointError(UserError):
    """A training checkpoint is missing, damaged, or of another run."""


class TeacherError(UserError):
    """A teacher's endpoint cannot be used; answers that it gave before are kept."""


class MissingExtra(UserError):
    """An optional dependency is not installed."""


class NonFiniteError(DhrdError):
    """A loss or a gradient is NaN or infinite; the weights were not updated with it."""


class SaveError(DhrdError):
    """A file could not be written; what had been saved before is intact."""
