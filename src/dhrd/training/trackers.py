"""Where logged numbers go: metrics.jsonl always; trackers and callbacks when asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dhrd._files import RESUME, saving
from dhrd._text import shown
from dhrd.config import RunConfig
from dhrd.config.published import published
from dhrd.errors import CheckpointError, ConfigError
from dhrd.training.position import Position
from dhrd.training.run_dir import flat
from dhrd.training.tracker_backends import AccelerateSink, Lasting, MlflowSink, autologging, usable

if TYPE_CHECKING:
    from accelerate import Accelerator


class Sink(Protocol):
    """Takes every logged number of a run."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of one update or evaluation."""

    def state(self) -> dict[str, str]:
        """What is needed to go on with the same run after a restart."""

    def finish(self, artifact: Path | None) -> None:
        """The run ended well, with this artifact."""

    def abort(self, status: str) -> None:
        """The run ended otherwise: "FAILED" or "KILLED"."""


class JsonlSink:
    """metrics.jsonl: one object an update or evaluation, flushed at once.

    Args:
        path: The file.
        step: Lines after this update are cut off: the run goes on from there and writes them again.
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
        with saving("metrics.jsonl", RESUME):
            self._file.write(json.dumps({"step": step, **values}) + "\n")
            self._file.flush()

    def state(self) -> dict[str, str]:
        return {}

    def finish(self, artifact: Path | None) -> None:
        with saving("metrics.jsonl", RESUME):
            self._file.close()

    def abort(self, status: str) -> None:
        with suppress(OSError):  # a full disk has been told of, and closing writes again what did not fit
            self._file.close()


def _lines_until(path: Path, step: int) -> list[str]:
    """The lines up to an update; the last may be torn, as a kill leaves it.

    Raises:
        CheckpointError: Another line is none that a run wrote, or the file cannot be read.
    """
    kept: list[str] = []
    lines = _lines(path)
    for number, line in enumerate(lines, 1):
        found = _step_of(line)
        if found is None and number < len(lines):
            raise CheckpointError(
                f"{path}:{number}: damaged (no object with a step: {shown(line.strip())}); remove the line to go on"
            )
        if found is not None and found <= step and line.endswith("\n"):
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


def check_callbacks(callbacks: Any) -> None:
    """Before training: can each of them be told what a run logs, and how it ended?

    Raises:
        ConfigError: Naming what one lacks.
    """
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise ConfigError(f"callbacks: {shown(callbacks)} is no list; give a list of sinks")
    needed = [name for name in vars(Sink) if not name.startswith("_")]
    for number, callback in enumerate(callbacks):
        if isinstance(callback, type):
            raise ConfigError(f"callbacks[{number}]: {shown(callback)} is a class; give an object of it")
        if lacking := [name for name in needed if not callable(getattr(callback, name, None))]:
            raise ConfigError(
                f"callbacks[{number}]: {shown(callback)} has no {', '.join(lacking)}; a sink has {', '.join(needed)}"
            )


@contextmanager
def open_sinks(
    config: RunConfig, accelerator: Accelerator, output_dir: Path, position: Position, callbacks: Sequence[Sink]
) -> Iterator[list[Sink]]:
    """The run's sinks, told how it ended: with the artifact in `output_dir`, or not.

    Raises:
        ConfigError: A tracker cannot be reached before training.
        CheckpointError: metrics.jsonl is damaged.
    """
    sinks: list[Sink] = list(callbacks)
    try:
        if accelerator.is_main_process:
            sinks.append(JsonlSink(output_dir / "metrics.jsonl", position.step))
        sinks += _trackers(config, accelerator, position)
        yield sinks
    except BaseException as error:
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        _end(sinks, lambda sink: sink.abort(status))
        raise
    if failures := _end(sinks, lambda sink: sink.finish(output_dir)):
        raise failures[0]


def _end(sinks: Sequence[Sink], tell: Callable[[Sink], None]) -> list[Exception]:
    """Tell every sink that the run ended, also where another one fails."""
    failures: list[Exception] = []
    for sink in sinks:
        try:
            tell(sink)
        except Exception as error:  # a callback's own
            failures.append(error)
    return failures


def _trackers(config: RunConfig, accelerator: Accelerator, position: Position) -> Iterator[Sink]:
    tracking, params = config.tracking, flat(published(config))
    if accelerator.is_main_process and ("mlflow" in tracking.report_to or autologging()):
        mlflow = MlflowSink(
            params,
            uri=tracking.uri,
            experiment=tracking.experiment,
            run_name=tracking.run_name,
            run_id=(position.tracker or {}).get("mlflow_run_id"),
        )
        yield Lasting("mlflow", mlflow)
    if others := [one for one in tracking.report_to if one != "mlflow"]:
        name = " and ".join(others)
        with usable(f"tracking.report_to: {name}"):
            sink = AccelerateSink(accelerator, tracking.experiment, params)
        yield Lasting(name, sink)
