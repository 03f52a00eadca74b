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
        run_name: Name of the run for Weights & Biases; TensorBoard has no names. None: it chooses one.
    """

    def __init__(
        self, accelerator: Accelerator, experiment: str, params: Mapping[str, object], run_name: str | None = None
    ) -> None:
        self._accelerator = accelerator
        plain = {name: v if isinstance(v, int | float | str | bool) else str(v) for name, v in params.items()}
        named = {"wandb": {"name": run_name}} if run_name is not None else {}
        accelerator.init_trackers(experiment, config=plain, init_kwargs=named)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log to each of them."""
        self._accelerator.log(dict(values), step=step)

    def finish(self, artifact: Path | None) -> None:
        """Close them."""
        self._accelerator.end_training()

    def abort(self, status: str) -> None:
        """Close them."""
        self._accelerator.end_training()
