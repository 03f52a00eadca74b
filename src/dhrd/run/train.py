"""Train: the main path. Read this file first.

load rows → build (encode, model, updates, state) → fit → evaluate → save
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate.utils import broadcast_object_list

from dhrd.config import RunConfig
from dhrd.data.rows import Rows, load_rows
from dhrd.errors import DhrdError
from dhrd.evaluation.live import LiveModel
from dhrd.metrics.metrics import check_metric, higher_is_better, main_metric, numbers
from dhrd.model.backbone import Backbone, load_backbone
from dhrd.run.finish import save
from dhrd.training.build import Parts, build, resume, run_identity
from dhrd.training.checkpoints import Checkpoints
from dhrd.training.loop import Monitor, fit
from dhrd.training.position import Position
from dhrd.training.run_dir import Place, prepare_output, read_precision, start_run
from dhrd.training.setup import Precision, choose_precision, start_processes
from dhrd.training.shards import gathered
from dhrd.training.trackers.opened import open_trackers
from dhrd.training.trackers.tracker import Tracker, check_callbacks

if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState

logger = logging.getLogger("dhrd")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What training gave.

    Args:
        output_dir: The artifact.
        steps: Updates done.
        metrics: Of the validation rows; empty where there are none.
        was_finished: The run had ended before; nothing was done.
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
        train_dataset: Rows instead of `data.train`: a `datasets.Dataset`, dicts, or `Example`s.
        validation_dataset: Rows instead of `data.validation`; they serve choices as those do.
        backbone: A loaded backbone, changed in place, instead of `model.name_or_path`.
        callbacks: Further trackers of every logged number.
        checkpoint: Go on with the run in this `output_dir`, or from one checkpoint in it.
        overwrite: Replace a run that is in `output_dir`.
        device: "cpu", "cuda", "mps"; None: the best there is.

    Returns:
        Where the artifact is, and its metrics.

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
            logger.warning("%s: training is finished already; nothing to do", place.output_dir)
            return TrainResult(output_dir=place.output_dir, was_finished=True)
        rows = load_rows(config, train_dataset, validation_dataset)
        chosen_by(config, rows)  # a metric that there is not is told before the backbone is loaded
        backbone = backbone or load_backbone(config.model, seed=config.seed)
        precision = _on_main_process(processes, lambda: _precision(config, place, backbone, device))
        parts = build(config, rows, backbone, device, precision=precision)
        return _train(parts, place, precision, callbacks)


def _train(parts: Parts, place: Place, precision: Precision, callbacks: Sequence[Tracker]) -> TrainResult:
    """From the first update, or the one after a checkpoint, to the artifact; with output_dir held."""
    config, accelerator, output_dir, start = parts.config, parts.accelerator, place.output_dir, place.start
    checkpoints = Checkpoints(output_dir / "checkpoints", run_identity(parts))
    _on_main_process(accelerator, lambda: start_run(output_dir, config, precision, fresh=start is None))
    position = resume(parts, checkpoints, start) if start is not None else Position()
    monitor = make_monitor(parts, LiveModel.of(parts.model, accelerator, split=True))
    with open_trackers(config, accelerator, output_dir, position, callbacks) as trackers:
        end = fit(
            parts.state, parts.updates, monitor=monitor, trackers=trackers, checkpoints=checkpoints, position=position
        )
        with gathered(parts.model):
            metrics = save(parts, output_dir, end.step, precision) if accelerator.is_main_process else {}
        checkpoints.remove(accelerator)  # before the trackers are told: whatever they raise, nothing is left behind
    return TrainResult(output_dir=output_dir, steps=end.step, metrics=metrics)


def _on_main_process(processes: Accelerator | PartialState, act: Callable[[], Any]) -> Any:
    """What `act` gives, done by one process alone: the others would see a directory half prepared."""
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
    """What the run began with, where it goes on, else chosen: measured again it might come out differently."""
    recorded = read_precision(place.output_dir) if place.goes_on else None
    return recorded or choose_precision(config.training.mixed_precision, device, backbone.model.config)


def chosen_by(config: RunConfig, rows: Rows) -> str | None:
    """The metric that chooses the weights; None where the last are taken.

    Raises:
        ConfigError: The task has no such metric.
    """
    if not config.chooses:
        return None
    metric = config.training.metric or main_metric(rows.task)
    check_metric(metric, rows.task, rows.labels)
    return metric


def make_monitor(parts: Parts, live: LiveModel) -> Monitor | None:
    """The evaluations during training, on the rows of choices; None without such rows or a classifier.

    Raises:
        ConfigError: The task has no such metric as chooses the weights.
    """
    rows, metric = parts.rows, chosen_by(parts.config, parts.rows)
    if not rows.choose or parts.config.loss.classification_weight == 0:
        return None

    def evaluate() -> Mapping[str, float]:
        with gathered(parts.model):
            return numbers(live.evaluate(parts.data.choose.examples, rows.labels, task=rows.task))

    return Monitor(
        evaluate=evaluate,
        metric=metric,
        higher_is_better=metric is None or higher_is_better(metric),
    )
