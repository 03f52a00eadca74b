"""Train: the main path. Read this file first.

load rows → encode → model → fit → evaluate → save
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
from dhrd.data.sequence import EncodedData
from dhrd.errors import DhrdError
from dhrd.evaluation.live import LiveModel
from dhrd.metrics.metrics import check_metric, higher_is_better, main_metric, numbers
from dhrd.model.backbone import Backbone, load_backbone
from dhrd.run.finish import save
from dhrd.training.build import build_model, encode, plan_updates, resume, run_identity
from dhrd.training.checkpoints import Checkpoints
from dhrd.training.loop import EvaluateFn, Watch, fit
from dhrd.training.run_dir import Place, prepare_output, read_precision, start_run
from dhrd.training.setup import Precision, choose_precision, make_accelerator, make_stepper, start_processes
from dhrd.training.trackers import Sink, check_callbacks, open_sinks

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
        encoding: What happened to the training rows on the way to tokens.
        was_finished: The run had ended before; nothing was done.
    """

    output_dir: Path
    steps: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    encoding: str = ""
    was_finished: bool = False


def train(
    config: RunConfig,
    *,
    train_dataset: Any = None,
    validation_dataset: Any = None,
    backbone: Backbone | None = None,
    callbacks: Sequence[Sink] = (),
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
        callbacks: Further sinks for every logged number.
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
        return _train(config, train_dataset, validation_dataset, backbone, callbacks, place, device, processes)


def _train(
    config: RunConfig,
    train_dataset: Any,
    validation_dataset: Any,
    backbone: Backbone | None,
    callbacks: Sequence[Sink],
    place: Place,
    device: str | None,
    processes: Accelerator | PartialState,
) -> TrainResult:
    """The whole way, with output_dir held."""
    output_dir, start = place.output_dir, place.start
    rows = load_rows(config, train_dataset, validation_dataset)
    watch = make_watch(config, rows)
    backbone = backbone or load_backbone(config.model, seed=config.seed)
    recorded = output_dir if place.goes_on else None
    precision = _on_main_process(processes, lambda: _precision(config, recorded, backbone, device))
    accelerator = make_accelerator(config, device, precision)
    data = encode(config, rows, backbone)
    model = build_model(config, rows, backbone)
    belongs = run_identity(config, rows, data, model, accelerator)
    updates = plan_updates(config, rows, data, model, accelerator)
    stepper = make_stepper(model, config, accelerator, updates.updates_per_epoch * config.training.num_epochs)
    _on_main_process(accelerator, lambda: start_run(output_dir, config, precision, fresh=start is None))
    checkpoints = Checkpoints(output_dir / "checkpoints", belongs)
    position = resume(checkpoints, start, stepper, model, config)
    with open_sinks(config, accelerator, output_dir, position, callbacks) as sinks:
        end = fit(
            stepper,
            model,
            updates,
            config.training,
            evaluate_fn=make_evaluate_fn(rows, data, config, LiveModel.of(model, accelerator, split=True)),
            watch=watch,
            sinks=sinks,
            checkpoints=checkpoints,
            position=position,
        )
        metrics = {}
        if accelerator.is_main_process:
            metrics = save(config, rows, data, LiveModel.of(model, accelerator), output_dir, end.step, precision)
        checkpoints.remove(accelerator)  # before the sinks are told: whatever they raise, nothing is left behind
    return TrainResult(output_dir=output_dir, steps=end.step, metrics=metrics, encoding=data["train"].summary())


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


def _precision(config: RunConfig, recorded: Path | None, backbone: Backbone, device: str | None) -> Precision:
    """What the run in `recorded` began with, else chosen: measured again it might come out differently."""
    found = read_precision(recorded) if recorded is not None else None
    return found or choose_precision(config.training.mixed_precision, device, backbone.model.config)


def make_watch(config: RunConfig, rows: Rows) -> Watch | None:
    """What chooses the weights; None where the last are taken.

    Raises:
        ConfigError: The task has no such metric.
    """
    if config.training.selection == "last" and config.training.patience is None:
        return None
    metric = config.training.metric or main_metric(rows.task)
    check_metric(metric, rows.task, multi_label=rows.labels.multi_label)
    return Watch(metric=metric, higher_is_better=higher_is_better(metric))


def make_evaluate_fn(
    rows: Rows, data: Mapping[str, EncodedData], config: RunConfig, live: LiveModel
) -> EvaluateFn | None:
    """What evaluates the model during training, on the rows of choices; None without such rows or a classifier."""
    if not rows.choose or config.loss.classification_weight == 0:
        return None
    return lambda _: numbers(live.evaluate(data["choose"].examples, rows.labels, task=rows.task))
