"""Which files rows are read from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dhrd.config import DataSettings
from dhrd.data.readers import matching
from dhrd.data.superglue import TASKS


def files_of_rows(spec: Any, settings: DataSettings) -> Iterator[Path]:
    """The files, or directories of them, that a spec of rows names; none where it names none.

    Args:
        spec: As `open_source` takes it.
        settings: The SuperGLUE folder.
    """
    if isinstance(spec, list | tuple):
        for part in spec:
            yield from files_of_rows(part, settings)
    if not isinstance(spec, str | Path) or not str(spec):
        return
    kind, _, rest = str(spec).partition(":")
    if kind == "superglue" and settings.superglue_root is not None and rest in TASKS:
        yield Path(settings.superglue_root) / TASKS[rest].folder
    elif kind == "hub":
        yield Path(rest)  # a directory of that name goes before the hub's
    else:
        path = Path(spec).expanduser()
        yield from matching(path) or [path]


def files_of_settings(settings: DataSettings) -> Iterator[Path]:
    """The files that a run's own rows are read from."""
    for spec in (settings.train, settings.validation, settings.test):
        yield from files_of_rows(spec, settings)
