"""The trackers of a run, opened before it and notified of how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dhrd.config import RunConfig
from dhrd.config.published import published
from dhrd.training.identity import flat
from dhrd.training.position import Position
from dhrd.training.trackers.accelerated import AccelerateTracker
from dhrd.training.trackers.jsonl import JsonlTracker
from dhrd.training.trackers.mlflow import THIS_PROCESS, MlflowTracker
from dhrd.training.trackers.tracker import Lasting, Tracker, usable

if TYPE_CHECKING:
    from accelerate import Accelerator


@contextmanager
def open_trackers(
    config: RunConfig, accelerator: Accelerator, output_dir: Path, position: Position, callbacks: Sequence[Tracker]
) -> Iterator[list[Tracker]]:
    """Open the run's trackers, and notify them whether it ended with the artifact in `output_dir`.

    Args:
        config: Names the trackers.
        accelerator: Only its main process writes.
        output_dir: Where metrics.jsonl is written.
        position: Where the run resumes.
        callbacks: Further trackers, called first.

    Raises:
        ConfigError: A tracker cannot be reached before training.
        CheckpointError: metrics.jsonl is damaged.
    """
    trackers: list[Tracker] = list(callbacks)
    with told_the_end(trackers, output_dir):
        if accelerator.is_main_process:
            trackers.append(JsonlTracker(output_dir / "metrics.jsonl", position.step))
        trackers += _asked_for(config, accelerator, position)
        yield trackers


@contextmanager
def told_the_end(trackers: Sequence[Tracker], artifact: Path | None) -> Iterator[None]:
    """Notify trackers, including those added within the block, of success with this artifact or of failure."""
    try:
        yield
    except BaseException as error:
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        _end(trackers, lambda tracker: tracker.abort(status))
        raise
    if failures := _end(trackers, lambda tracker: tracker.finish(artifact)):
        raise failures[0]


def _end(trackers: Sequence[Tracker], tell: Callable[[Tracker], None]) -> list[Exception]:
    """Tell every tracker that the run ended, even if another one fails."""
    failures: list[Exception] = []
    for tracker in trackers:
        try:
            tell(tracker)
        except Exception as error:  # a callback's own
            failures.append(error)
    return failures


def _asked_for(config: RunConfig, accelerator: Accelerator, position: Position) -> Iterator[Tracker]:
    tracking, params = config.tracking, flat(published(config))
    if accelerator.is_main_process and ("mlflow" in tracking.report_to or THIS_PROCESS.autologs):
        mlflow = MlflowTracker(
            params,
            uri=tracking.uri,
            experiment=tracking.experiment,
            run_name=tracking.run_name,
            run_id=(position.tracker or {}).get("mlflow_run_id"),
        )
        yield Lasting("mlflow", mlflow)
    if others := [name for name in tracking.report_to if name != "mlflow"]:
        names = " and ".join(others)
        with usable(f"tracking.report_to: {names}"):
            tracker = AccelerateTracker(accelerator, tracking.experiment, params, tracking.run_name, position)
        yield Lasting(names, tracker)
