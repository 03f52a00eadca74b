"""Weights & Biases and TensorBoard, through accelerate's trackers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dhrd.training.trackers.tracker import Tracker

if TYPE_CHECKING:
    from accelerate import Accelerator


class AccelerateTracker(Tracker):
    """Logs to the trackers that an accelerator was created with.

    Args:
        accelerator: An accelerator created with `log_with`.
        experiment: Name of the experiment or project.
        params: The run's settings.
    """

    def __init__(self, accelerator: Accelerator, experiment: str, params: Mapping[str, object]) -> None:
        self._accelerator = accelerator
        plain = {name: v if isinstance(v, int | float | str | bool) else str(v) for name, v in params.items()}
        accelerator.init_trackers(experiment, config=plain)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log to each of them."""
        self._accelerator.log(dict(values), step=step)

    def finish(self, artifact: Path | None) -> None:
        """Close them."""
        self._accelerator.end_training()

    def abort(self, status: str) -> None:
        """Close them."""
        self._accelerator.end_training()
