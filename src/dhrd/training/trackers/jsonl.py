"""metrics.jsonl: the tracker of every run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dhrd._files import RESUME, saving
from dhrd._json import json_text
from dhrd._text import shown
from dhrd.errors import CheckpointError
from dhrd.training.trackers.tracker import Tracker


class JsonlTracker(Tracker):
    """Writes one object per update or evaluation, flushed at once.

    Args:
        path: The file.
        step: Lines after this update are dropped: the run resumes there and writes them again.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        kept = _lines_until(path, step) if step else []
        with saving(str(path), RESUME):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            partial.write_text("".join(kept), encoding="utf-8")
            os.replace(partial, path)
            self._file = path.open("a", encoding="utf-8")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write a line.

        Raises:
            SaveError: It could not be written.
        """
        with saving("metrics.jsonl", RESUME):
            self._file.write(json_text({"step": step, **values}) + "\n")
            self._file.flush()

    def finish(self, artifact: Path | None) -> None:
        """Close the file.

        Raises:
            SaveError: It could not be written.
        """
        with saving("metrics.jsonl", RESUME):
            self._file.close()

    def abort(self, status: str) -> None:
        """Close the file; a full disk was already reported, and closing retries what did not fit."""
        with suppress(OSError):
            self._file.close()


def _lines_until(path: Path, step: int) -> list[str]:
    """The lines up to an update; the last may be incomplete if the run was killed.

    Raises:
        CheckpointError: Another line is malformed, or the file cannot be read.
    """
    kept: list[str] = []
    lines = _lines(path)
    for number, line in enumerate(lines, 1):
        line_step = _step_of(line)
        if line_step is None and number < len(lines):
            raise CheckpointError(
                f"{path}:{number}: damaged (not an object with a step: {shown(line.strip())}); remove the line"
            )
        if line_step is not None and line_step <= step and line.endswith("\n"):
            kept.append(line)
    return kept


def _lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return list(file)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def _step_of(line: str) -> int | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    step = value.get("step") if isinstance(value, dict) else None
    return step if type(step) is int else None
