"""Training, the main path of the library. Start reading here.

load rows → build (encode, model, updates, state) → fit → evaluate → save
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate.utils import broadcast_object_list

from dhrd.config import RunConfig, TrainingSettings
from dhrd.data.rows import Rows, load_rows
from dhrd.errors import DhrdError
from dhrd.evaluation.live import LiveModel
from dhrd.metrics.metrics import check_metric, higher_is_better, main_metric, numbers
from dhrd.model.backbone import Backbone, load_backbone
from dhrd.run.announce import announced
from dhrd.run.finish import save
from dhrd.training.build import Parts, build, resume, run_identity
from dhrd.training.checkpoints import Checkpoints
from dhrd.training.loop import Monitor, fit
from dhrd.training.position import Position
from dhrd.training.run_dir import Place, prepare_output, read_precision, start_run, with_place
from dhrd.training.setup import Precision, choose_precision, start_processes
from dhrd.training.shards import gathered
from dhrd.training.trackers.lines import Lines
from dhrd.training.trackers.opened import open_trackers
from dhrd.training.trackers.tracker import Tracker, check_callbacks

if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState

logger = logging.getLogger("dhrd")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """The result of training.

    Args:
        output_dir: The artifact.
        steps: Number of updates done.
        metrics: Metrics on the validation rows; empty if there are none.
        was_finished: Whether the run was already finished, so that nothing was done.
    """

    output_dir: Path
    steps: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    was_finished: bool = False


def train(
    config: RunConfig,
    *,
    train_dataset: Any = None,
    validation_dataset: Any = None,
    backbone: Backbone | None = None,
    callbacks: Sequence[Tracker] = (),
    checkpoint: str | Path | None = None,
    overwrite: bool = False,
    device: str | None = None,
) -> TrainResult:
    """Train a dual-head classifier and write it as an artifact to `config.output_dir`.

    Args:
        config: The settings.
        train_dataset: Rows to use instead of `data.train`: a `datasets.Dataset`, dicts, or `Example`s.
        validation_dataset: Rows to use instead of `data.validation`.
        backbone: A loaded backbone to use instead of `model.name_or_path`; it is modified in place.
        callbacks: Further trackers, which receive every logged number.
        checkpoint: Resume the run in this `output_dir`, or from a checkpoint in it.
        overwrite: Replace an existing run in `output_dir`.
        device: "cpu", "cuda" or "mps"; None: the best available.

    Returns:
        The artifact's directory and metrics.

    Raises:
        UserError: A setting, a row, the backbone or a checkpoint cannot be used.
        NonFiniteError: Training diverged; the last checkpoint is intact.
        SaveError: A file could not be written; the last checkpoint is intact.
    """
    check_callbacks(callbacks)
    config.check_choices(has_validation=validation_dataset is not None or config.data.validation is not None)
    processes = start_processes(config, device)
    with ExitStack() as held:  # the lock on output_dir, on the main process
        place = _on_main_process(processes, lambda: prepare_output(config, checkpoint, overwrite=overwrite, held=held))
        if place.is_finished:
            logger.warning("%s: training is already finished; nothing to do", place.output_dir)
            return TrainResult(output_dir=place.output_dir, was_finished=True)
        config = with_place(config, place.output_dir)
        rows = load_rows(config, train_dataset, validation_dataset)
        chosen_by(config, rows)  # report an unknown metric before loading the backbone
        backbone = backbone or load_backbone(config.model, seed=config.seed)
        precision = _on_main_process(processes, lambda: _precision(config, place, backbone, device))
        parts = build(config, rows, backbone, device, precision=precision)
        return _train(parts, place, precision, callbacks)


def _train(parts: Parts, place: Place, precision: Precision, callbacks: Sequence[Tracker]) -> TrainResult:
    """Train from the first update, or from a checkpoint, and write the artifact; output_dir must be locked."""
    config, accelerator, output_dir, start = parts.config, parts.accelerator, place.output_dir, place.start
    checkpoints = Checkpoints(output_dir / "checkpoints", run_identity(parts))
    _on_main_process(accelerator, lambda: start_run(output_dir, config, precision, fresh=start is None))
    position = resume(parts, checkpoints, start) if start is not None else Position()
    monitor = make_monitor(parts, LiveModel.of(parts.model, accelerator, split=True))
    with open_trackers(
        config, accelerator, output_dir, position, [*callbacks, *_line_trackers(parts, position)]
    ) as trackers:
        end = fit(
            parts.state, parts.updates, monitor=monitor, trackers=trackers, checkpoints=checkpoints, position=position
        )
        if accelerator.is_main_process and config.training.selection == "best" and end.has_chosen:
            logger.info("keeping the weights after update %d, the best of all evaluations", end.best_step)
        with gathered(parts.model):
            metrics = save(parts, output_dir, end, precision) if accelerator.is_main_process else {}
        checkpoints.remove(accelerator)  # before notifying the trackers, so that nothing is left behind if they raise
    return TrainResult(output_dir=output_dir, steps=end.step, metrics=metrics)


def _line_trackers(parts: Parts, position: Position) -> list[Tracker]:
    """The trackers that log progress lines, on the main process only; also logs what the run will do."""
    if not parts.accelerator.is_main_process:
        return []
    for line in announced(parts):
        logger.info("%s", line)
    return [Lines(parts.state.num_updates, metric=chosen_by(parts.config, parts.rows), first=position.step)]


def _on_main_process(processes: Accelerator | PartialState, act: Callable[[], Any]) -> Any:
    """Run `act` on the main process only and share its result, as others would see a half-prepared directory."""
    outcome: list[Any] = [None]
    if processes.is_main_process:
        try:
            outcome = [act()]
        except DhrdError as error:
            outcome = [error]
    broadcast_object_list(outcome)
    if isinstance(outcome[0], DhrdError):
        raise outcome[0]
    return outcome[0]


def _precision(config: RunConfig, place: Place, backbone: Backbone, device: str | None) -> Precision:
    """The run's precision: that of the resumed run, or chosen now, as a new measurement might turn out differently."""
    recorded = read_precision(place.output_dir) if place.goes_on else None
    return recorded or choose_precision(config.training.mixed_precision, device, backbone.model.config)


def chosen_by(config: RunConfig, rows: Rows) -> str | None:
    """The metric that chooses the weights; None if the last ones are used.

    Raises:
        ConfigError: The task has no such metric.
    """
    if not config.chooses:
        return None
    metric = config.training.metric or main_metric(rows.task)
    check_metric(metric, rows.task, rows.labels)
    return metric


def _warn_of_few(settings: TrainingSettings, num_updates: int, metric: str) -> None:
    """Say where a run has too few evaluations for what is asked of them."""
    steps, patience = settings.eval_steps, settings.patience
    if steps is not None and steps >= num_updates:
        told = "training.eval_steps=%d: the run has %d updates, so nothing is chosen by `%s`; lower it to choose"
        logger.warning(told, steps, num_updates, metric)
        return
    num_evaluations = settings.num_epochs if steps is None else ceil(num_updates / steps)
    if patience is not None and num_evaluations < patience + 2:  # one to compare with, and one that is saved
        told = "training.patience=%d: with %d evaluations it cannot end the run early; lower it, or training.eval_steps"
        logger.warning(told, patience, num_evaluations)


def make_monitor(parts: Parts, live: LiveModel) -> Monitor | None:
    """The evaluations during training, on held-out rows; None without such rows or without a classifier.

    Raises:
        ConfigError: The task does not have the metric that chooses the weights.
    """
    rows, metric = parts.rows, chosen_by(parts.config, parts.rows)
    if not rows.choose or parts.config.loss.classification_weight == 0:
        return None
    if metric is not None:
        _warn_of_few(parts.config.training, parts.state.num_updates, metric)

    def evaluate() -> Mapping[str, float]:
        with gathered(parts.model):
            return numbers(live.evaluate(parts.data.choose.examples, rows.labels, task=rows.task))

    return Monitor(
        evaluate=evaluate,
        metric=metric,
        higher_is_better=metric is None or higher_is_better(metric),
    )
