"""Weights & Biases and TensorBoard, through accelerate's trackers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhrd.training.position import Position
from dhrd.training.trackers.tracker import Tracker

if TYPE_CHECKING:
    from accelerate import Accelerator

_WANDB_RUN_ID = "wandb_run_id"


class AccelerateTracker(Tracker):
    """Logs to the trackers that an accelerator was created with.

    Args:
        accelerator: An accelerator created with `log_with`.
        experiment: Name of the experiment or project.
        params: The run's settings.
        run_name: Name of the run for Weights & Biases; TensorBoard has no names. None: it chooses one.
        position: Where the run resumes: both go on with what they have up to there.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        experiment: str,
        params: Mapping[str, object],
        run_name: str | None = None,
        position: Position | None = None,
    ) -> None:
        self._accelerator = accelerator
        position = position or Position()
        if not position.step and accelerator.is_main_process:
            _remove_events(accelerator.logging_dir, experiment)
        plain = {name: v if isinstance(v, int | float | str | bool) else str(v) for name, v in params.items()}
        wandb: dict[str, Any] = {} if run_name is None else {"name": run_name}
        if run_id := (position.tracker or {}).get(_WANDB_RUN_ID):
            wandb |= {"id": run_id, "resume": "allow"}
        board = {"purge_step": position.step + 1} if position.step else {}
        accelerator.init_trackers(experiment, config=plain, init_kwargs={"wandb": wandb, "tensorboard": board})

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log to each of them."""
        self._accelerator.log(dict(values), step=step)

    def state(self) -> dict[str, str]:
        """The id of the run of Weights & Biases, which the main process has."""
        trackers = self._accelerator.trackers if self._accelerator.is_main_process else []
        ids = [tracker.tracker.id for tracker in trackers if tracker.name == "wandb"]
        return {_WANDB_RUN_ID: ids[0]} if ids else {}

    def finish(self, artifact: Path | None) -> None:
        """Close them."""
        self._accelerator.end_training()

    def abort(self, status: str) -> None:
        """Close them."""
        self._accelerator.end_training()


def _remove_events(directory: str | None, experiment: str) -> None:
    """Those of TensorBoard by a run that this one replaces, which it would draw as one curve with this one's."""
    folder = Path(directory or ".", experiment).resolve()
    if directory is not None and folder.is_relative_to(Path(directory).resolve()):
        for path in folder.rglob("events.out.tfevents.*"):
            path.unlink(missing_ok=True)
